"""Presets: what is registered how, by name."""

from dataclasses import dataclass

MONOMODAL = (
    "compositive(update=2.0, field=1.0, gradient='moving')",
    "compositive(update=1.5, field=0.5, gradient='moving', calm=3)",
    "compositive(step=1.5, update=1.0, field=0.4, gradient='moving', calm=4)",
)
CLOSE = (
    "compositive(update=1.7, field=0.7, gradient='moving')",
    "compositive(update=1.0, field=0.45, gradient='moving', calm=3)",
    "compositive(update=1.0, field=0.38, gradient='moving', calm=4)",
)
MULTIMODAL = (
    "compositive(update=3.0, field=1.0)",
    "compositive(update=2.0, field=0.9, calm=2)",
    "compositive(step=1.2, update=1.5, field=0.9, calm=3)",
)
# where nothing is known of the anatomy, or a level has few voxels
CALM = (
    "compositive(update=3.0, field=1.5)",
    "compositive(update=2.0, field=1.5)",
    "compositive(update=2.0, field=1.5)",
)
FINE = (
    "compositive(update=3.0, field=1.5)",
    "compositive(update=2.0, field=1.0)",
    "compositive(update=2.0, field=0.8)",
)


@dataclass(frozen=True)
class Preset:
    """Settings that suit a kind of image pair.

    Args:
        about: For whom, one line.
        linear: `rigid` or `affine`: what comes before any deformation.
        transform: The deformation, as text; empty: none.
        objective: As text; empty: chosen by whether the two contrasts agree, and by how many
            voxels there are.
        optimisers: One for each level, coarse to fine, as text; empty: chosen with the objective.
        steps: Steps on each level, coarse to fine; each level halves the voxel size of the one
            before, the last has that of the fixed image. Empty: chosen with the objective; where
            that is given, the search is the answer.
        window: Hounsfield units outside this range are cut, in images that have values below
            -500; empty: none are.
        search: What finds large motion before the deformation is optimised, as text such as
            `"convex(spacing=6, reach=32)"`; empty: nothing.
    """

    about: str
    linear: str = "affine"
    transform: str = "displacement"
    objective: str = ""
    optimisers: tuple[str, ...] = ()
    steps: tuple[int, ...] = (50, 30, 10)
    window: tuple[float, ...] = ()
    search: str = ""

    def __post_init__(self):
        if any(count < 1 for count in self.steps):
            raise ValueError(f"each level takes 1 step or more, not {self.steps}")


PRESETS = {
    "auto": Preset("any pair: looks at the images and decides", steps=()),
    "fast": Preset("any pair, in a fraction of the time", steps=(20, 15, 5)),
    "accurate": Preset(
        "the same contrast, with more time",
        objective="lncc(radius=3) + lncc(radius=6) + 0.6*ngf",
        optimisers=CLOSE,
        steps=(50, 30, 15),
    ),
    "small": Preset(
        "images of few voxels, such as one structure of the brain, any contrast",
        objective="ngf + lncc(radius=2)",
        optimisers=FINE,
        steps=(50, 50, 30),
    ),
    "brain-mr": Preset(
        "brains, the same contrast",
        objective="lncc(radius=4)",
        optimisers=MONOMODAL,
        steps=(30, 30, 7),
    ),
    "brain-multimodal": Preset(
        "brains of different contrast",
        objective="ngf + lncc(radius=2)",
        optimisers=MULTIMODAL,
        steps=(30, 15, 5),
    ),
    "lung-ct": Preset(
        "one chest, breathed in and out",
        objective="ngf + lncc(radius=2)",
        optimisers=CALM,
        window=(-1000.0, 500.0),
    ),
    "abdomen": Preset(
        "abdomens, CT or MR or both",
        objective="mind_ssc",
        optimisers=("compositive(update=2.0, field=1.0)",),
        steps=(30,),
        window=(-160.0, 240.0),
        search="convex(spacing=12, reach=36, step=6)",
    ),
    "cardiac": Preset(
        "one heart, two phases of a cine",
        linear="rigid",
        objective="mse + 0.5*lncc(radius=4) + 1.5*ngf",
        optimisers=("compositive(update=3.0, field=0.6, gradient='moving')",),
        steps=(200, 200),
    ),
    "histology": Preset("stained sections", objective="ngf + lncc(radius=4)", optimisers=CALM),
    "rigid": Preset("one body part of one person, any contrast", linear="rigid", transform=""),
    "affine": Preset("a first, global alignment, any contrast", transform=""),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: naming the ones there are.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset is called {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
