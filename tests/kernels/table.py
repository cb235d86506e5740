"""Every function of a kernel that has a torch version, with inputs to try it on.

A row says what the tensors are, which of them hold one entry a pair, and how a version is called
with them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.features.self_similarity import adjacent_pairs
from coincide.kernels.local_histogram import place
from worlds import noise

# more voxels than a block of Triton's has, and no two axes alike
SHAPES = {2: (17, 19), 3: (7, 6, 9)}
BINS = 9
COUNT = 4
SQUEEZE = ("first", "first_bias", "second", "second_bias")
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One function.

    Args:
        name: Folder and name.
        tensors: From dimension, batch and shape to its floating-point tensors, float64.
        call: Runs a version on them; returns all results.
        shared: Tensors that all pairs share.
        together: Whether results speak of all pairs at once.
    """

    name: str
    tensors: Callable[[int, int, tuple[int, ...]], Tensors]
    call: Callable[..., tuple[Tensor, ...]]
    shared: tuple[str, ...] = ()
    together: bool = False


def rough(dim: int) -> np.ndarray:
    """A symmetric positive matrix."""
    a = np.eye(dim) + 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    return a.T @ a


def sheared(dim: int) -> np.ndarray:
    """A matrix that is nothing special."""
    return np.eye(dim) + 0.2 * np.random.default_rng(1).standard_normal((dim, dim))


def affine(dim: int) -> np.ndarray:
    """(D, D+1), which leads some voxels out of view."""
    return np.concatenate([sheared(dim), np.full((dim, 1), 0.63)], 1)


def values(batch: int, shape: tuple[int, ...], seed: int, *, channels: int = 1, sigma=0.7):
    return noise(shape, seed=seed, batch=batch, channels=channels, sigma=sigma, dtype=torch.float64)


def weights(batch: int, shape: tuple[int, ...], seed: int = 9) -> Tensor:
    """Positive and fractional, (B, 1, *S)."""
    return 0.2 + 0.8 * values(batch, shape, seed).sigmoid()


def images(channels: int):
    """Two images and weights."""

    def made(_: int, batch: int, shape: tuple[int, ...]) -> Tensors:
        fixed = values(batch, shape, 1, channels=channels)
        warped = 0.5 * fixed + values(batch, shape, 2, channels=channels)
        return {"fixed": fixed, "warped": warped, "mask": weights(batch, shape)}

    return made


def counted(_: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    """Two images in bins, within and beyond the range, and weights."""
    fixed, warped = (values(batch, shape, n) * 2 + BINS / 2 for n in (1, 2))
    return {"fixed": fixed, "warped": warped, "mask": weights(batch, shape)}


def field_alone(name: str, channels: int | None = None):
    """A field of as many components as axes, or as said."""

    def made(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
        return {name: 0.5 * values(batch, shape, 3, channels=channels or dim)}

    return made


def moved(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    """A volume and a displacement that leads out of it."""
    other = tuple(n + 1 for n in shape)
    field = 1.7 * values(batch, shape, 4, channels=dim)
    return {"volume": values(batch, other, 3, channels=2), "field": field}


def linear(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    return {"volume": values(batch, shape, 3, channels=2), "index": torch.tensor(affine(dim))}


def labelled(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    return {"field": 1.7 * values(batch, shape, 4, channels=dim), "mask": weights(batch, shape)}


def maps(batch: int, shape: tuple[int, ...], device) -> tuple[Tensor, Tensor]:
    """Label maps; pair b of any batch is the same."""
    both = (torch.cat([values(1, shape, n + 10 * b) for b in range(batch)]) for n in (5, 6))
    one, other = ((v * 1.5 + 2).round().clamp(0, COUNT).int().to(device) for v in both)
    return one, other


def forces(_: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    gradient, warped = (values(batch, shape, n, channels=2) for n in (1, 2))
    return {"gradient": gradient, "warped": warped}


def updates(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    field, update = (values(batch, shape, n, channels=dim) for n in (1, 2))
    return {"field": field, "update": update}


def radial(dim: int, batch: int, _: tuple[int, ...]) -> Tensors:
    random = np.random.default_rng(0)
    centres = torch.tensor(random.uniform(0, 5, (6, dim)))
    return {"centres": centres, "weights": torch.tensor(random.standard_normal((batch, 2, 6)))}


def features(_: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    return {
        "features": values(batch, shape, 1, channels=2),
        "floor": torch.tensor([0.1, 0.3], dtype=torch.float64),
    }


def squeezing(dim: int, batch: int, shape: tuple[int, ...]) -> Tensors:
    """Features, and two linear maps of 48 similarities to 6 and to 5 numbers."""
    random = np.random.default_rng(3)
    sizes = ((6, 48), (6,), (5, 6), (5,))
    maps = [torch.tensor(0.3 * random.standard_normal(size)) for size in sizes]
    return features(dim, batch, shape) | dict(zip(SQUEEZE, maps, strict=True))


def volumes(_dim: int, _batch: int, shape: tuple[int, ...]) -> Tensors:
    """Two feature images: there is no batch."""
    size = tuple(2 * (n // 2) for n in shape)
    wide = tuple(n + 2 for n in size)
    return {
        "fixed": values(1, size, 1, channels=3)[0],
        "weight": weights(1, size, 2)[0, 0],
        "unknown": weights(1, size, 3)[0, 0],
        "moving": values(1, wide, 4, channels=3)[0],
        "seen": weights(1, wide, 5)[0, 0],
    }


def into(out: Tensor, run: Callable[[Tensor], object]) -> tuple[Tensor, ...]:
    """What was written, and what was returned where that is another tensor."""
    returned = run(out)
    extra = isinstance(returned, Tensor) and returned is not out
    return (out, returned) if extra else (out,)  # type: ignore[return-value]


def empty(like: Tensor, channels: int | None = None) -> Tensor:
    """Room for a field, filled with what no result may be."""
    dim = like.ndim - 2
    return like.new_full((len(like), channels or dim, *like.shape[2:]), torch.nan)


def filters(dim: int) -> list[np.ndarray]:
    return [np.array([0.2, 0.6, 0.2]), np.ones(1), np.array([-0.1, 0.3, 1.0, 0.3, -0.1])][:dim]


def numbers(results) -> tuple[Tensor, ...]:
    """Numbers and arrays as tensors."""
    return tuple(torch.as_tensor(r) for r in results)


def windows(shape) -> list:
    return [place(n, s) for n, s in zip(shape, (3.7, 5.0, 4.1), strict=False)]


ROWS = {
    row.name: row
    for row in (
        Row(
            "difference.mean_square",
            images(2),
            lambda f, t: (f(t["fixed"], t["warped"], t["mask"]),),
        ),
        Row(
            "difference.mean_square_force",
            images(2),
            lambda f, t: into(
                empty(t["warped"]),
                lambda o: f(t["fixed"], t["warped"], t["mask"], rough(o.ndim - 2), o),
            ),
        ),
        Row(
            "lncc.decorrelation",
            images(2),
            lambda f, t: (
                f(
                    *(t[k] for k in ("fixed", "warped", "mask")),
                    (2, 1, 3)[: t["mask"].ndim - 2],
                    1e-2,
                ),
            ),
        ),
        Row(
            "histogram.joint_histogram",
            counted,
            lambda f, t: (f(t["fixed"], t["warped"], t["mask"], BINS),),
        ),
        Row(
            "local_histogram.local_histogram",
            counted,
            lambda f, t: (
                f(t["fixed"], t["warped"], t["mask"], BINS, windows(t["mask"].shape[2:])),
            ),
        ),
        Row(
            "labels.label_sums",
            labelled,
            lambda f, t: (
                f(
                    *maps(len(t["field"]), tuple(t["mask"].shape[2:]), t["field"].device),
                    t["field"],
                    t["mask"],
                    affine(t["mask"].ndim - 2),
                    sheared(t["mask"].ndim - 2),
                    COUNT,
                ),
            ),
            together=True,  # the maps are made for a whole batch
        ),
        Row(
            "mind.descriptors",
            field_alone("volume", 1),
            lambda f, t: (f(t["volume"], *adjacent_pairs(t["volume"].ndim - 2, 2), 1, 1e-3),),
        ),
        Row(
            "structure.self_similarity",
            features,
            lambda f, t: (f(t["features"], t["floor"], (1, 2), False),),
            shared=("floor",),
        ),
        Row(
            "structure.structure",
            squeezing,
            lambda f, t: (
                f(t["features"], t["floor"], (1, 2), tuple(t[k] for k in SQUEEZE), True),
            ),
            shared=("floor", *SQUEEZE),
        ),
        Row(
            "normal.normal_equations",
            lambda _, b, s: {
                "fixed": values(b, s, 1, channels=2),
                "volume": values(b, s, 2, channels=2),
                "mask": weights(b, s),
            },
            lambda f, t: numbers(f(t["fixed"], t["volume"], affine(t["mask"].ndim - 2), t["mask"])),
            together=True,
        ),
        Row(
            "radial.radial_sum",
            radial,
            lambda f, t: (
                f(
                    affine(t["centres"].shape[1]),
                    SHAPES[t["centres"].shape[1]],
                    t["centres"],
                    t["weights"],
                ),
            ),
            shared=("centres",),
        ),
        Row(
            "radial.radial_sum_at",
            lambda d, b, s: {
                **radial(d, b, s),
                "points": torch.tensor(np.random.default_rng(2).uniform(0, 5, (b, 4, d))),
            },
            lambda f, t: (f(t["points"], t["centres"], t["weights"]),),
            shared=("centres",),
        ),
        Row(
            "demons.demons",
            images(2),
            lambda f, t: into(
                empty(t["warped"]),
                lambda o: f(
                    *(t[k] for k in ("fixed", "warped", "mask")),
                    rough(o.ndim - 2),
                    0.7,
                    0.4,
                    0.1,
                    o,
                ),
            ),
        ),
        Row(
            "cost_volume.cost_volume",
            volumes,
            lambda f, t: (
                f(
                    *(t[k] for k in ("fixed", "weight", "unknown", "moving", "seen")),
                    (2, 1, 2)[: t["weight"].ndim],
                    0.3,
                ),
            ),
            together=True,
        ),
        Row(
            "cost_volume.blurred",
            lambda d, _, s: {"volume": values(1, (*s, *(3,) * d), 1)[0, 0].contiguous()},
            lambda f, t: (f(t["volume"].clone(), 0.8, t["volume"].ndim // 2),),
            together=True,
        ),
        Row(
            "smooth.filtered",
            field_alone("volume", 2),
            lambda f, t: (f(t["volume"], filters(t["volume"].ndim - 2)),),
        ),
        Row(
            "smooth.filter_into",
            field_alone("volume", 2),
            lambda f, t: into(
                torch.full_like(t["volume"], torch.nan),
                lambda o: f(t["volume"], filters(o.ndim - 2), o),
            ),
        ),
        Row(
            "derivatives.slopes",
            field_alone("field", 2),
            lambda f, t: (f(t["field"], sheared(t["field"].ndim - 2)),),
        ),
        Row(
            "derivatives.squared_slope",
            field_alone("field", 2),
            lambda f, t: (f(t["field"], sheared(t["field"].ndim - 2)),),
        ),
        Row(
            "laplacian.laplacian",
            field_alone("field", 2),
            lambda f, t: (f(t["field"], np.array([0.3, 1.2, 0.7])[: t["field"].ndim - 2]),),
        ),
        Row(
            "volume.determinant",
            field_alone("displacement"),
            lambda f, t: (f(t["displacement"], sheared(t["displacement"].ndim - 2)),),
        ),
        Row(
            "volume.faces",
            field_alone("displacement"),
            lambda f, t: (f(t["displacement"], sheared(t["displacement"].ndim - 2)),),
        ),
        Row(
            "update.force",
            forces,
            lambda f, t: into(
                empty(t["warped"]), lambda o: f(t["gradient"], t["warped"], rough(o.ndim - 2), o)
            ),
        ),
        Row(
            "update.lengths",
            field_alone("field"),
            lambda f, t: (f(t["field"], rough(t["field"].ndim - 2)),),
        ),
        Row(
            "update.compose",
            updates,
            lambda f, t: into(empty(t["field"]), lambda o: f(t["field"], t["update"], 0.3, o)),
        ),
        Row(
            "warp.warp",
            moved,
            lambda f, t: f(t["volume"], t["field"], *geometry(t), None, False),
        ),
        Row(
            "warp.warp_into",
            moved,
            lambda f, t: f(t["volume"], t["field"], *geometry(t), None, True, None, room(t)),
        ),
        Row(
            "warp.warp_linear",
            linear,
            lambda f, t: f(t["volume"], t["index"], SHAPES[len(t["index"])], True),
            shared=("index",),
        ),
        Row(
            "warp.force_along",
            lambda d, b, s: {
                "gradient": values(b, s, 5, channels=2),
                "volume": values(b, s, 3, channels=2),
                "field": 1.7 * values(b, s, 4, channels=d),
            },
            lambda f, t: into(
                empty(t["volume"]),
                lambda o: f(t["gradient"], t["volume"], t["field"], rough(o.ndim - 2), None, o),
            ),
        ),
    )
}


def geometry(t: Tensors) -> tuple[np.ndarray, np.ndarray]:
    dim = t["field"].shape[1]
    return affine(dim), sheared(dim)


def room(t: Tensors) -> tuple[Tensor, Tensor]:
    """Where a warp may write."""
    values = empty(t["field"], t["volume"].shape[1])
    return values, empty(t["field"], 1)
