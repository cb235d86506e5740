"""Objectives side by side: one deformation from one start, only what is minimised differs.

    python benchmarks/objectives.py --cases known-t2 --preset brain-multimodal "ngf" "mind_ssc"
    python benchmarks/objectives.py --ablation

The second gives the table of the structural representation, from a network that has learned
nothing to the one that comes along, beside the usual measures, all refined by the published
instance optimisation. Every similarity is scaled so that its first gradient is as long as that of
the preset's, and that at several factors, of which the best counts: equal tuning for all.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import random_features  # noqa: F401  names the parts of the ablation
import torch
from cases import Case, named
from pairs import case, makers
from score import score

import coincide as co
from coincide.files.itk_member import vectors_of
from coincide.objective import Objective, objective
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.transforms.displacement import Displacement
from coincide.transforms.transform import Transform

ABLATION = {
    "random features": "random_features",
    "… their self-similarity": "random_features(similar=True)",
    "… trained": "structural(sigma=0.0)",
    "… smoothed": "structural",
    "`dns`, no network": "dns",
    "`mind_ssc`": "mind_ssc",
    "`ngf + lncc(radius=2)`": "ngf + lncc(radius=2)",
    "`nmi`": "nmi",
    "`ncc`": "ncc",
}
ABLATED = ("known-t2/1", "known-flair/1", "hcp-inverted", "abdomen-aligned")
WORSE = ("tre_median_mm",)  # scores of which less is better
SHOWN = {"dice": "Dice", "tre_median_mm": "median error, mm", "tre_p95_mm": "95 %, mm"}


@dataclass(frozen=True, eq=False)
class Start:
    """A case, ready to be deformed.

    Args:
        case: What is known of it.
        fixed: Image that stays.
        moving: Image that is mapped.
        linear: How far linear alignment brings them; None: they are aligned.
    """

    case: Case
    fixed: Image
    moving: Image
    linear: Transform | None


def started(name: str, given: argparse.Namespace) -> Start:
    """The images of a case with its linear alignment, made once."""
    found = case(name, given.data, given.work)
    fixed, moving = (_coarse(co.read_image(p), given.spacing) for p in (found.fixed, found.moving))
    if found.linear == "none":
        return Start(found, fixed, moving, None)
    kept = given.work / name / "linear.h5"
    if not kept.exists():
        co.write_transform(co.register(fixed, moving, found.linear).transform, kept)
    return Start(found, fixed, moving, co.read_transform(kept))


def scored(start: Start, transform: Transform | None) -> dict[str, float]:
    """What a transform is worth; None: the start itself."""
    grid = co.read_image(start.case.fixed).grid
    transform = transform or start.linear
    with torch.no_grad():
        field = (
            torch.zeros(1, 3, *grid.shape) if transform is None else transform.displacement(grid)
        )
    return score(start.case, vectors_of(field))


def run(start: Start, wanted: Objective, preset: str) -> tuple[dict[str, float], float]:
    """Deform by an objective on every level of a preset; scores and seconds of the deformation."""
    result = co.register(
        start.fixed,
        start.moving,
        "displacement",
        objective=wanted,
        preset=preset,
        initial="header" if start.linear is None else start.linear,
        device="cpu",
    )
    return scored(start, result.transform), result.seconds["displacement"]


def scaled(start: Start, text: str, like: str) -> Objective:
    """A similarity weighted so that its gradient at the start is as long as that of another."""
    lengths = [_slope(start, objective(one)) for one in (text, like)]
    return lengths[1] / lengths[0] * objective(text)


def _slope(start: Start, wanted: Objective) -> float:
    """Mean length of the gradient by the displacement."""
    grid = start.fixed.grid
    field = torch.zeros(1, grid.dim, *grid.shape, requires_grad=True)
    linear = start.linear
    bend = Displacement(field=1.0 * field, grid=grid)
    alignment = co.Alignment(start.fixed, start.moving, bend if linear is None else linear @ bend)
    total, _ = wanted(alignment)
    (slope,) = torch.autograd.grad(total, field)
    return float(slope.norm(dim=1).mean())


def best(tried: list[dict[str, float]]) -> dict[str, float]:
    """The best of several runs by what the case is about."""
    key = "dice" if "dice" in tried[0] else "tre_median_mm"
    return (min if key in WORSE else max)(tried, key=lambda each: each[key])


def ablation(given: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """The best of every row on every case."""
    found: dict[str, dict[str, dict[str, float]]] = {"linear alignment": {}}
    similarities = [f"8*structural + {w}*diffusion" for w in (0.6, 0.5, 0.4)]
    assert [str(level.objective) for level in co.PRESETS["masr"].levels] == similarities
    for name in named(given.cases or list(ABLATED), list(makers())):
        start = started(name, given)
        found["linear alignment"][name] = scored(start, None)
        for row, text in ABLATION.items():
            unit = scaled(start, text, "8*structural")
            tried = []
            for factor in given.factors:
                wanted = factor * unit + objective("0.5*diffusion")
                values, seconds = run(start, wanted, "masr")
                tried.append(values | {"seconds": seconds})
            found.setdefault(row, {})[name] = best(tried)
            print(name, row, [round(one[_key(one)], 4) for one in tried], flush=True)
    return found


def side_by_side(given: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Every objective on every case."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in named(given.cases or list(ABLATED), list(makers())):
        start = started(name, given)
        for text in given.objectives:
            values, seconds = run(start, objective(text), given.preset)
            found.setdefault(f"`{text}`", {})[name] = values | {"seconds": seconds}
            print(name, text, {k: round(v, 4) for k, v in values.items()}, round(seconds, 1))
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Rows and cases as Markdown; errors with the 95th percentile in brackets."""
    names = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row, values in found.items():
        lines.append(f"| {row} | {' | '.join(_cell(values[name]) for name in names)} |")
    return "\n".join(lines)


def figure(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """One panel a case, one bar a row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names, rows = list(next(iter(found.values()))), list(found)
    size = (2.6 * len(names) + 1.6, 0.32 * len(rows) + 1)
    drawn, axes = plt.subplots(1, len(names), figsize=size, sharey=True, layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        key = _key(found[rows[0]][name])
        axis.barh(rows, [found[row][name][key] for row in rows], color="tab:blue")
        axis.set(title=name, xlabel=SHOWN[key])
        axis.invert_yaxis()
    drawn.savefig(path, dpi=90)
    plt.close(drawn)


def _key(values: dict[str, float]) -> str:
    return "dice" if "dice" in values else "tre_median_mm"


def _cell(values: dict[str, float]) -> str:
    if "dice" in values:
        return f"{values['dice']:.4f}"
    return f"{values['tre_median_mm']:.3f} ({values['tre_p95_mm']:.2f})"


def _coarse(image: Image, spacing: float) -> Image:
    return at(image, image.grid.shrink(image.grid.factors(spacing))) if spacing else image


def main() -> None:
    """Print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("objectives", nargs="*")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--preset", default="brain-multimodal")
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--factors", nargs="*", type=float, default=[1.0, 3.0, 9.0])
    parser.add_argument("--spacing", type=float, default=0.0, help="mm; 0: as the images are")
    parser.add_argument("--data", type=Path, default=os.environ.get("COINCIDE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("benchmark"))
    given = parser.parse_args()
    given.data = Path(given.data)
    begin = time.perf_counter()
    found = ablation(given) if given.ablation else side_by_side(given)
    print(table(found))
    if given.ablation:
        figure(found, given.work / "ablation.png")
    print(f"{(time.perf_counter() - begin) / 60:.1f} min")


if __name__ == "__main__":
    main()
