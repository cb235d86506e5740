"""Learned features beside other similarities: one conditional network each, every smoothness.

    python benchmarks/nce_sweep.py --data FOLDER [--seeds 0 1 2] [--work nce_sweep]

The experiment of Dey et al. (2022), doi:10.58530/2022/3467, in small. Slices of brains, whose
second contrast is made from the first by a curve that rises and falls, uneven illumination, blur
and noise; the brain alone counts. Slices 1 to 33 are trained on, and 60 pairs of slices 34 to 45,
never two of one person, are scored: Dice of four tissues, energy of the velocity, folding, for
every weight of smoothness.

Within minutes no measure of two contrasts moves a network away from the identity. So there is a
warm start, one for all, which saw the truth: a network that is shown both contrasts and lowers the
local correlation of the first contrast with the first contrast behind the second. From there each
similarity trains for as many steps, with several seeds, weighted so that its gradient at random
fields is as long as that of mutual information. What is finished is kept in the folder and not
done again.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metric import TUNED, unit
from nce_page import WEIGHTS, Curves, figure, table
from nce_slices import Slices, Told, read
from torch import nn

from coincide.alignment import Alignment
from coincide.files.atomic import atomic
from coincide.networks.model_file import model_bytes
from coincide.objective import Objective, Similarity, objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.predictors.cost import smoothness
from coincide.predictors.model import load_model, save_model
from coincide.predictors.predictor import Predictor
from coincide.scores.overlap import overlap
from coincide.space.image import Image
from coincide.training.autoencoder import AutoencoderRecipe, AutoencoderTask
from coincide.training.loop import Schedule, Task, train
from coincide.training.pairs import PairsTask
from coincide.training.pairs_recipe import PairsRecipe
from coincide.transforms.transform import Transform

PREDICTOR, TOLD = "pyramid(spacing=1.0, conditional=True, dim=2)", "lncc(radius=3, floor=0.001)"
NCE = "patch_nce(fixed='{0}', moving='{1}')"
SIMILARITIES = {
    "MI": ((1.0, "mi"),),
    "local MI": ((1.0, "local_mi(radius=20.0)"),),
    "NGF": ((1.0, "ngf"),),
    "MIND": ((1.0, "mind"),),
    "NCE": ((1.0, NCE),),
    "NCE + MI": ((0.1, NCE), (0.9, "mi")),
}
BATCH, HEADS = 12, 60  # pairs at once; steps of heads before they are weighed
DIRECT, LEVELS = (0.1, 0.25, 0.5, 1.0), (Level(2.0, 60, 0.0), Level(0.0, 40, 0.0))


def task(known: Slices, seed: int, wanted: str, start: str = "") -> PairsTask:
    """Training on pairs, as `coincide train pairs.csv --objective … --start …` does it."""
    recipe = PairsRecipe(
        predictor=PREDICTOR,
        objective=wanted,
        seed=seed,
        batch=4,
        precision="bfloat16",
        start=start,
    )
    return PairsTask(recipe, known.cases(), known.subjects)


def encoders(known: Slices, steps: int) -> list[str]:
    """An autoencoder of each contrast, trained."""
    paths = []
    for number, name in enumerate(("first", "second")):
        path = known.work / f"{name}.safetensors"
        paths.append(str(path))
        if path.exists():
            continue
        grey = known.subjects.data[number * known.count :][:TUNED]
        learns = AutoencoderTask(AutoencoderRecipe(), [g[0, 0, ..., None] for g in grey])
        schedule = Schedule(steps=steps, rate=1e-3, warm=50, average=0.99, validated=steps)
        network, seconds = timed(learns, schedule, known.work / name)
        with atomic(path) as temporary:
            temporary.write_bytes(model_bytes(network, learns.card({"cpu_s": seconds})))
    return paths


def warm(known: Slices, steps: int) -> str:
    """The start that all have."""
    path = known.work / "start.safetensors"
    if not path.exists():
        (_, told), *_ = objective(TOLD).terms
        assert isinstance(told, Similarity)
        pairs = [(a, b - known.count) for a, b in known.cases().training[7::300]]
        firsts = [known.subjects.images(list(pair)) for pair in zip(*pairs, strict=True)]
        weight = unit(TOLD, *firsts) / unit("mi", *known.pair(pairs))
        inner = task(known, 0, "mi + diffusion")
        schedule = Schedule(steps=steps, rate=2e-3, warm=50, validated=steps)
        folder = known.work / "start"
        network, seconds = timed(Told(inner, told, weight), schedule, folder)
        assert isinstance(network, Predictor)
        save_model(network, {"cpu_s": seconds}, path)
    return str(path)


def timed(what: Task, schedule: Schedule, folder: Path) -> tuple[nn.Module, float]:
    """A trained network and the seconds of the processor that it took."""
    begin = time.process_time()
    network = train(what, schedule, folder, watch=lambda _: None)
    return network, round(time.process_time() - begin, 1)


def weighted(known: Slices, name: str, seed: int, start: str, both: Sequence[str]) -> str:
    """A similarity as text, its gradient at random fields as long as that of mutual information."""
    terms = [(share, text.format(*both)) for share, text in SIMILARITIES[name]]
    wanted = " + ".join(f"{share}*{text}" for share, text in terms)
    looks = task(known, seed, f"{wanted} + diffusion", start)
    heads = [p for part in looks.along for p in part.parameters() if p.requires_grad]
    if heads:  # what they have not learned yet has no gradient that tells
        looks.network.requires_grad_(False)
        rule = torch.optim.Adam(heads, lr=1e-3)
        for step in range(HEADS):
            rule.zero_grad()
            looks.loss(looks.network, step)[0].backward()
            rule.step()
    bound = looks.bound(torch.Generator().manual_seed(seed))
    compared = Objective(bound.terms[:-1])
    pairs = [(a, b - known.count) for a, b in known.cases().training[7::300]]
    images = known.pair(pairs)
    scale = unit(compared, *images) / unit("mi", *images)  # type: ignore[arg-type]
    return " + ".join(f"{scale * share:.4g}*{text}" for share, text in terms) + " + diffusion"


@torch.no_grad()
def scored(known: Slices, predictor: Predictor | None) -> list[dict[str, list[float]]]:
    """Dice, energy and percent folded of every pair, for every weight; None: not aligned."""
    found = []
    for weight in WEIGHTS if predictor else (None,):
        rows: dict[str, list[float]] = {"dice": [], "energy": [], "folding": []}
        for low in range(0, len(known.test), BATCH):
            pairs = known.test[low : low + BATCH]
            fixed, moving = known.pair(pairs)
            values = measured(
                known, pairs, fixed, moving, predictor and predictor(fixed, moving, weight)
            )
            for key, value in values.items():
                rows[key] += value
        found.append(rows)
    return found


def measured(
    known: Slices,
    pairs: Sequence[tuple[int, int]],
    fixed: Image,
    moving: Image,
    transform: Transform | None,
) -> dict[str, list[float]]:
    """Of a batch of pairs."""
    labels = [known.subjects.label_maps(side) for side in zip(*pairs, strict=True)]
    assert labels[0] is not None
    assert labels[1] is not None
    energy = folding = [0.0] * len(pairs)
    warped = labels[1]
    if transform is not None:
        alignment = Alignment(fixed, moving, transform)
        warped = alignment.pull(labels[1], interpolation="label")
        folding = (100 * (alignment.jacobian <= 0).float().flatten(1).mean(1)).tolist()
        energy = objective("diffusion").costs(smoothness(alignment))[:, 0].tolist()
    dice = [
        overlap(one[0].numpy(), other[0].numpy()).mean_dice or 0.0
        for one, other in zip(labels[0].data, warped.data, strict=True)
    ]
    return {"dice": dice, "energy": energy, "folding": folding}


def direct(known: Slices, text: str, count: int = 20) -> dict[str, dict[str, float]]:
    """What optimising the velocity of each pair reaches, without any network, by weight."""
    found = {}
    for factor in DIRECT:
        rows = []
        for pair in known.test[:count]:
            fixed, moving = known.pair([pair])
            result = optimise(
                fixed,
                moving,
                "velocity(spacing=2.0)",
                objective=f"{text} + {factor}*diffusion",
                optimiser="adam(rate=0.15)",
                levels=LEVELS,
            )
            with torch.no_grad():
                rows.append(measured(known, [pair], fixed, moving, result.transform))
        found[str(factor)] = {key: mean(row[key] for row in rows) for key in rows[0]}
        print("direct", text, factor, found[str(factor)], flush=True)
    return found


def kept(path: Path, make: Any) -> Any:
    """What is in a file of JSON, made if it is not there yet."""
    if not path.exists():
        values = make()
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(values))
    return json.loads(path.read_text())


def mean(values: Any) -> float:
    """Of numbers, or of lists of them."""
    return float(np.mean(list(values)))


def one(known: Slices, name: str, seed: int, given: argparse.Namespace) -> Mapping[str, Any]:
    """A similarity and a seed: trained and scored."""
    start, both = warm(known, given.warm), encoders(known, given.encoders)
    if name == "start":
        return {"cpu_s": 0.0, "scores": scored(known, load_model(start).predictor)}
    wanted = weighted(known, name, seed, start, both)
    schedule = Schedule(steps=given.steps, rate=1e-3, warm=20, validated=given.steps)
    folder = known.work / f"{name.replace(' ', '')}-{seed}"
    network, seconds = timed(task(known, seed, wanted, start), schedule, folder)
    assert isinstance(network, Predictor)
    print(name, seed, wanted, f"{seconds:.0f} CPU s", flush=True)
    return {"objective": wanted, "cpu_s": seconds, "scores": scored(known, network)}


def curves(known: Slices, names: Sequence[str], given: argparse.Namespace) -> Curves:
    """Means over pairs."""
    found: Curves = {}
    for seed in given.seeds:
        for name in names:
            if name == "start" and seed != given.seeds[0]:
                continue
            path = known.work / f"{name.replace(' ', '')}-{seed}.json"
            made = kept(path, lambda name=name, seed=seed: one(known, name, seed, given))
            for key in ("dice", "energy", "folding"):
                row = [mean(each[key]) for each in made["scores"]]
                found.setdefault(name, {}).setdefault(key, []).append(row)  # type: ignore[union-attr]
            found[name].setdefault("cpu_s", []).append([made["cpu_s"]])  # type: ignore[union-attr]
            print(name, seed, [round(d, 4) for d in found[name]["dice"][-1]], flush=True)
    return {name: {key: np.array(rows) for key, rows in row.items()} for name, row in found.items()}


def main() -> None:
    """Train, score, print the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("COINCIDE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("nce_sweep"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=["start", *SIMILARITIES])
    parser.add_argument("--warm", type=int, default=1000, help="steps of the common start")
    parser.add_argument("--encoders", type=int, default=250, help="steps of each autoencoder")
    parser.add_argument("--steps", type=int, default=150, help="steps of each similarity")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    known = read(Path(given.data), given.work)
    found = curves(known, given.only, given)
    still = mean(scored(known, None)[0]["dice"])
    optimised = kept(given.work / "direct.json", lambda: direct(known, "mi"))
    straight = max(row["dice"] for row in optimised.values())
    print(table(found))
    print(f"not aligned {still:.4f}; MI optimised directly {straight:.4f}")
    figure(found, still, straight, given.work / "nce_sweep.png")


if __name__ == "__main__":
    main()
