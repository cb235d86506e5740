"""Pairs: training a predictor on pairs of images, by the objective that an optimiser minimises."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coincide.alignment import Alignment
from coincide.networks.model_file import read_model
from coincide.objective import Objective, PairedTerm, Penalty
from coincide.objective import objective as read_objective
from coincide.predictors.cost import cost
from coincide.predictors.model import load_model
from coincide.predictors.predictor import Precision, Predictor
from coincide.registry import build
from coincide.scores.overlap import overlap
from coincide.space.image import Image
from coincide.synthetic.noise import uniform, whole
from coincide.training.augment import moved
from coincide.training.cases import Cases
from coincide.training.loop import Task
from coincide.training.patch_nce import Learned, PatchNCETerm
from coincide.training.report import row_of_slices
from coincide.training.subjects import Subjects

FIRST = read_objective("mse")  # what brings large parts together before details are compared
WATCHED = 0.2  # weight at which a conditional network is looked at
SHOWN = 6  # pairs on the page
LOOKED = 10_000_000  # number of a step that no training reaches


@dataclass(frozen=True)
class PairsRecipe:
    """What a predictor is trained to do, and on how much at once.

    Args:
        predictor: Which network, as text.
        objective: What is lowered: similarities of the images, penalties on the velocity, and
            `labels` where there are some.
        seed: Of the weights, of the order of pairs and of how they are moved.
        batch: Pairs of each step.
        warm: Share of the steps, from the first, that lower `mse` instead of the similarities.
        augmented: How often both images of a pair are turned, stretched and shown otherwise.
        precision: Numbers of the layers of the network.
        start: Model of the same predictor that it goes on from; empty: random weights.

    Raises:
        ValueError: if the objective compares no images, or a share lies outside of 0 to 1.
    """

    predictor: str = "pyramid"
    objective: str = "lncc(radius=2, floor=0.001) + 0.2*diffusion"
    seed: int = 0
    batch: int = 2
    warm: float = 0.0
    augmented: float = 0.0
    precision: Precision = "float32"
    start: str = ""

    def __post_init__(self):
        if not compared(read_objective(self.objective)).terms:
            raise ValueError(
                f"{self.objective!r} compares no images; add a similarity such as lncc"
            )
        for name in ("warm", "augmented"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.batch < 1:
            raise ValueError(f"a step takes 1 pair or more, not {self.batch}")


class PairsTask(Task):
    r"""Images are brought together by the field that the network predicts.

    A step lowers, over the pairs of a batch, the objective that optimisation would lower on each
    of them; a conditional network is told a weight $\lambda$ drawn from 0 to 1 and lowers

    $$ (1 - \lambda)\, S(F, M \circ T) + \lambda\, R(v) $$

    Args:
        recipe: How.
        cases: Which pairs are trained on, and which are looked at.
        subjects: All images on one grid.

    References:
        Balakrishnan et al. (2019), "VoxelMorph", arXiv:1809.05231; Hu et al. (2018),
        doi:10.1016/j.media.2018.07.002, for labels; Mok, Chung (2021), arXiv:2106.12673, for λ.
    """

    network: Predictor

    def __init__(self, recipe: PairsRecipe, cases: Cases, subjects: Subjects):
        torch.manual_seed(recipe.seed)
        self.recipe, self.cases, self.subjects = recipe, cases, subjects
        self.network = build(recipe.predictor, Predictor)
        if self.network.dim != subjects.grid.dim:
            raise ValueError(
                f"the images have {subjects.grid.dim} axes and {recipe.predictor} takes "
                f"{self.network.dim}; write {self.network.name}(dim={subjects.grid.dim})"
            )
        # a model works on voxels of the size that it has seen
        self.network.spacing = self.network.spacing or float(subjects.grid.spacing[0])
        self.network.precision = recipe.precision
        if recipe.start:
            self.network.load_state_dict(_weights(recipe.start, self.network))
        self.objective = read_objective(recipe.objective)
        learned = [term for _, term in self.objective.terms if isinstance(term, PatchNCETerm)]
        self.along = [term.network(subjects.grid.dim) for term in learned]
        if "labels" in self.objective.absent and None in subjects.labels:
            raise ValueError("the objective has the term 'labels', but some image has no labels")
        looked_at = {i for pair in cases.validation for i in pair}
        outlined = all(subjects.labels[i] is not None for i in looked_at)
        self.score = "dice" if outlined else "similarity held out"
        self.settings = {
            **asdict(recipe),
            "predictor": str(self.network),
            "images": [case.image.name for case in cases.cases],
            "pairs": len(cases.training),
            "held out": list(cases.held),
            "grid": list(subjects.grid.shape),
            "sha256": subjects.sha256,
        }
        used = [recipe.start, *(path for term in learned for path in (term.fixed, term.moving))]
        if any(used):
            made = {path: read_model(path)[1]["sha256"] for path in used if path}
            self.settings["made from"] = made

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean cost over the pairs of a batch, and that of every term."""
        assert isinstance(network, Predictor)
        random = _random(self.recipe.seed, step)
        weight = uniform(random, 0, 1) if network.conditional else None
        chosen = [
            self.cases.training[whole(random, 0, len(self.cases.training))]
            for _ in range(self.recipe.batch)
        ]
        fixed, moving, maps = self.batch(chosen, random, next(network.parameters()).device)
        found, more = network.trained(fixed, moving, weight, random)
        objective = self.bound(random)
        if step < self.recipe.warm * self.total:
            objective = Objective((*FIRST.terms, *self.penalties.terms))
        if maps is not None:
            objective = objective.with_data("labels", *maps)
        total, values = cost(objective, Alignment(fixed, moving, found), weight)
        return total + more, values

    def bound(self, random: torch.Generator) -> Objective:
        """The objective, its learned terms with their networks, which look at random places."""
        networks = iter(self.along)
        terms = [
            (w, Learned(t, next(networks), random) if isinstance(t, PatchNCETerm) else t)
            for w, t in self.objective.terms
        ]
        return Objective(tuple(terms))

    @property
    def penalties(self) -> Objective:
        """The part of the objective that does not look at the images."""
        return Objective(tuple(t for t in self.objective.terms if isinstance(t[1], Penalty)))

    def batch(
        self, chosen: Sequence[tuple[int, int]], random: torch.Generator, device: torch.device
    ) -> tuple[Image, Image, tuple[Image, Image] | None]:
        """Fixed and moving images of some pairs, and their label maps where the loss wants them."""
        wanted = "labels" in self.objective.absent
        augmented = uniform(random, 0, 1) < self.recipe.augmented
        images, maps = [], []
        for side in range(2):
            which = [pair[side] for pair in chosen]
            image = self.subjects.images(which)
            held = self.subjects.label_maps(which) if wanted else None
            if augmented:
                image, held = moved(image, held, random)
            images.append(image.to(device))
            maps.append(held)
        one, other = maps
        both = None if one is None or other is None else (one.to(device), other.to(device))
        return images[0], images[1], both

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """On pairs held out: minus the mean cost of their images, Dice of labels, folded voxels."""
        assert isinstance(network, Predictor)
        costs, before, after, folded = [], [], [], []
        device = next(network.parameters()).device
        for pair in self.cases.validation:
            alignment = self.aligned(network, pair, device)
            costs.append(
                float(compared(self.bound(_random(self.recipe.seed, LOOKED)))(alignment)[0])
            )
            folded.append(100 * float((alignment.jacobian <= 0).float().mean()))
            maps = [self.subjects.label_maps([i]) for i in pair]
            if maps[0] is not None and maps[1] is not None:
                warped = alignment.pull(maps[1].to(device), interpolation="label").numpy()
                before.append(overlap(maps[0].numpy(), maps[1].numpy()).mean_dice)
                after.append(overlap(maps[0].numpy(), warped).mean_dice)
        numbers = {
            "similarity held out": -float(np.mean(costs)),
            "folding %": float(np.mean(folded)),
        }
        if after:
            numbers |= {"dice before": float(np.mean(before)), "dice": float(np.mean(after))}
        return numbers

    def aligned(self, network: Predictor, pair: tuple[int, int], device: torch.device) -> Alignment:
        """One pair under what the network predicts."""
        fixed, moving = (self.subjects.images([i]).to(device) for i in pair)
        weight = WATCHED if network.conditional else None
        return Alignment(fixed, moving, network(fixed, moving, weight))

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """Pairs held out, before and after."""
        assert isinstance(network, Predictor)
        device = next(network.parameters()).device
        rows = []
        for pair in self.cases.validation[:SHOWN]:
            found = self.aligned(network, pair, device)
            one, other, warped = (
                i.data[0].cpu() for i in (found.fixed, found.moving, found.warped)
            )
            rows.append(
                row_of_slices([one, other, warped, (one - other).abs(), (one - warped).abs()])
            )
        return (
            "From left to right: a fixed image, a moving one, the same under what was predicted, "
            "and how both differ from the fixed one, bright where they do.",
            rows,
        )

    def card(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """What goes into the file beside the weights."""
        return {
            "alignment": "centre" if self.subjects.centred else "header",
            "spacing_mm": self.network.spacing,
            "intensities": "0 to 1 between the 1st and the 99th percentile",
            "data": dict(self.settings),
            **numbers,
        }


def compared(objective: Objective) -> Objective:
    """The part of an objective that compares the images themselves."""
    beside = Penalty | PairedTerm
    return Objective(tuple((w, t) for w, t in objective.terms if not isinstance(t, beside)))


def _random(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, whatever came before."""
    return torch.Generator().manual_seed((seed << 40) + step)


def _weights(start: str, network: Predictor) -> Mapping[str, Tensor]:
    """Those of a model, which must be of the same network."""
    found = load_model(start).predictor
    if str(found) != str(network):
        raise ValueError(
            f"{start} holds {found}, and {network} shall be trained; to go on from it write "
            f'--predictor "{found}"'
        )
    return found.state_dict()
