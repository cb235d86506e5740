"""Catalogue: the peers by name, what to install for each, and which of its methods is run."""

from dataclasses import dataclass

TORCH = "torch"  # installed first, see environments.py


@dataclass(frozen=True)
class Peer:
    """One row of the tables.

    Args:
        script: File in `engines/` that runs it.
        variant: What the script is told to do.
        environment: Its environment; empty: the one that runs the benchmark.
    """

    script: str
    variant: str
    environment: str = ""


ENVIRONMENTS = {
    "ants": ("antspyx",),
    "convexadam": (TORCH, "convexadam"),
    "dipy": ("dipy",),
    "elastix": ("itk-elastix",),  # alone: it crashes beside other wheels of ITK
    "fireants": (TORCH, "fireants"),
    "greedy": ("picsl-greedy",),
    "simpleitk": ("SimpleITK", "numpy"),
}

PEERS = {
    "greedy": Peer("greedy_ncc", "-m NCC 2x2x2 -n 100x50x30", "greedy"),
    "greedy-tuned": Peer("greedy_ncc", "-m NCC 4x4x4 -s 1vox 0.4vox -n 50x30x15", "greedy"),
    "greedy-nmi": Peer("greedy_ncc", "-m NMI -n 100x50x30", "greedy"),
    "ants-synquick": Peer("ants_syn", "antsRegistrationSyNQuick[?]", "ants"),
    "ants-syn": Peer("ants_syn", "SyN", "ants"),
    "ants-syn-cc": Peer("ants_syn", "antsRegistrationSyN[?]", "ants"),
    "elastix": Peer("elastix_bspline", "default", "elastix"),
    "simpleitk-bspline": Peer("simpleitk_own", "bspline", "simpleitk"),
    "simpleitk-demons": Peer("simpleitk_own", "demons", "simpleitk"),
    "dipy": Peer("dipy_syn", "default", "dipy"),
    "convexadam": Peer("convex_adam", "default", "convexadam"),
    "fireants": Peer("fireants_greedy", "default", "fireants"),
}


def peer(name: str) -> Peer:
    """The peer of that name; `coincide-PRESET` is Coincide with one of its presets.

    Raises:
        ValueError: naming the ones there are.
    """
    if name == "coincide":
        return Peer("coincide_preset", "recommended")
    if name.startswith("coincide-"):
        return Peer("coincide_preset", name.removeprefix("coincide-"))
    if name not in PEERS:
        raise ValueError(
            f"no peer is called {name!r}; known: coincide, coincide-PRESET, {', '.join(PEERS)}"
        )
    return PEERS[name]
