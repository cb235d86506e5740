"""Pairs: training a predictor on pairs of images, by the objective that an optimiser minimises."""

from collections.abc import Mapping
from dataclasses import asdict
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
from coincide.predictors.predictor import Predictor
from coincide.registry import build
from coincide.scores.landmarks import landmarks
from coincide.scores.overlap import overlap
from coincide.similarities.field import Field
from coincide.space.image import Image
from coincide.synthetic.noise import numbered, uniform, whole
from coincide.training.batches import Batches
from coincide.training.cases import Cases, Places
from coincide.training.known import Known, check_known
from coincide.training.loop import Task
from coincide.training.pairs_recipe import PairsRecipe, compared
from coincide.training.patch_nce import Learned, PatchNCETerm
from coincide.training.report import row_of_slices
from coincide.training.simulated import simulated
from coincide.training.subjects import Subjects

# what brings large parts together before details are compared; of grey values from 0 to 1, mse is a
# tenth of what similarities give, and beside their penalties nothing would move
FIRST = read_objective("10*mse")
WATCHED = 0.2  # weight at which a conditional network is looked at
SHOWN = 6  # pairs on the page
LOOKED = 10_000_000  # number of a step that no training reaches


class PairsTask(Task):
    r"""Images are brought together by the field that the network predicts.

    A step lowers, over the pairs of a batch, the objective that optimisation would lower on each
    of them; a conditional network is told a weight $\lambda$ drawn from 0 to 1 and lowers

    $$ (1 - \lambda)\, S(F, M \circ T) + \lambda\, R(v) $$

    Args:
        recipe: How.
        cases: Which pairs are trained on, and which are looked at.
        subjects: All images on one grid.
        known: Landmarks and transforms of the pairs that have some.

    References:
        Balakrishnan et al. (2019), "VoxelMorph", arXiv:1809.05231; Hu et al. (2018),
        doi:10.1016/j.media.2018.07.002, for labels; Mok, Chung (2021), arXiv:2106.12673, for λ.
    """

    network: Predictor

    def __init__(
        self, recipe: PairsRecipe, cases: Cases, subjects: Subjects, known: Known | None = None
    ):
        torch.manual_seed(recipe.seed)
        self.recipe, self.cases, self.subjects = recipe, cases, subjects
        self.known = known or Known()
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
        check_known(self.objective, cases, subjects, self.known, recipe.simulated)
        self.batches = Batches(
            subjects,
            self.known,
            self.objective.absent,
            points=max([t.points for _, t in self.objective.terms if isinstance(t, Field)] or [1]),
            augmented=recipe.augmented,
            simulated=recipe.simulated,
        )
        learned = [term for _, term in self.objective.terms if isinstance(term, PatchNCETerm)]
        self.along = [term.network(subjects.grid.dim) for term in learned]
        looked_at = {i for pair in cases.validation for i in pair}
        if all(subjects.labels[i] is not None for i in looked_at):
            self.score = "dice"
        elif compared(self.objective).terms:
            self.score = "similarity held out"
        else:
            marked = any(pair in self.known.points for pair in cases.validation)
            self.score = "landmarks held out" if marked else "field held out"
        self.settings = {
            **asdict(recipe),
            "predictor": str(self.network),
            "images": [case.image.name for case in cases.cases],
            "pairs": len(cases.training),
            "held out": list(cases.held),
            "grid": list(subjects.grid.shape),
            "sha256": subjects.sha256 + self.known.sha256,
        }
        used = [recipe.start, *(path for term in learned for path in (term.fixed, term.moving))]
        if any(used):
            made = {path: read_model(path)[1]["sha256"] for path in used if path}
            self.settings["made from"] = made

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean cost over the pairs of a batch, and that of every term."""
        assert isinstance(network, Predictor)
        random = numbered(self.recipe.seed, step)
        warming = step < self.recipe.warm * self.total
        largest = 2 * WATCHED if warming else 1.0  # near 1 nothing moves, and nothing is learned
        weight = uniform(random, 0, largest) if network.conditional else None
        chosen = [
            self.cases.training[whole(random, 0, len(self.cases.training))]
            for _ in range(self.recipe.batch)
        ]
        batch = self.batches.drawn(chosen, random, next(network.parameters()).device)
        found, more = network.trained(batch.fixed, batch.moving, weight, random)
        objective = self.bound(random)
        if warming:
            others = tuple(t for t in objective.terms if isinstance(t[1], Penalty | PairedTerm))
            objective = Objective((*FIRST.terms, *others))
        for name, both in batch.data.items():
            objective = objective.with_data(name, *both)
        total, values = cost(objective, Alignment(batch.fixed, batch.moving, found), weight)
        return total + more, values

    def bound(self, random: torch.Generator) -> Objective:
        """The objective, its learned terms with their networks, which look at random places."""
        networks = iter(self.along)
        terms = [
            (w, Learned(t, next(networks), random) if isinstance(t, PatchNCETerm) else t)
            for w, t in self.objective.terms
        ]
        return Objective(tuple(terms))

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """On pairs held out: what their images, labels, landmarks and fields say; folded voxels."""
        assert isinstance(network, Predictor)
        device = next(network.parameters()).device
        rows = []
        for pair in self.cases.validation:
            alignment = self.aligned(network, pair, device)
            rows.append(self._scored(pair, alignment))
            if self.recipe.simulated and pair not in self.known.fields:
                rows[-1] |= self._scored_field(*self._simulated(network, pair, device))
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def _scored(self, pair: Places, alignment: Alignment) -> dict[str, float]:
        """Of one pair held out."""
        found = {}
        images = compared(self.bound(numbered(self.recipe.seed, LOOKED)))
        if images.terms:
            found["similarity held out"] = -float(images(alignment)[0])
        found["folding %"] = 100 * float((alignment.jacobian <= 0).float().mean())
        maps = [self.subjects.label_maps([i]) for i in pair]
        if maps[0] is not None and maps[1] is not None:
            moving = maps[1].to(alignment.fixed.data.device)
            warped = alignment.pull(moving, interpolation="label").numpy()
            found["dice before"] = overlap(maps[0].numpy(), maps[1].numpy()).mean_dice
            found["dice"] = overlap(maps[0].numpy(), warped).mean_dice
        if pair in self.known.points:
            points = self.known.points[pair]
            error = landmarks(alignment.transform, *points, self.subjects.grid)
            found |= {"tre before mm": error.initial_mean_mm, "tre mm": error.tre_mean_mm}
            found["landmarks held out"] = -error.tre_mean_mm
        if pair in self.known.fields:
            found |= self._scored_field(alignment, self.known.fields[pair].float())
        return found

    def _scored_field(self, alignment: Alignment, field: Tensor) -> dict[str, float]:
        """How far a prediction lies from a known field, mm."""
        fixed = alignment.fixed
        field = field.to(fixed.data.device)
        before, after = (
            float(fixed.mean(u.norm(dim=1, keepdim=True))[0])
            for u in (field, alignment.displacement - field)
        )
        return {"field before mm": before, "field mm": after, "field held out": -after}

    def _simulated(
        self, network: Predictor, pair: Places, device: torch.device
    ) -> tuple[Alignment, Tensor]:
        """The fixed image of a pair and itself, bent, under what the network predicts."""
        fixed = self.subjects.images([pair[0]])
        moving, _, field = simulated(fixed, None, torch.Generator().manual_seed(pair[1]))
        return self._under(network, fixed.to(device), moving.to(device)), field

    def aligned(self, network: Predictor, pair: Places, device: torch.device) -> Alignment:
        """One pair under what the network predicts."""
        fixed, moving = (self.subjects.images([i]).to(device) for i in pair)
        return self._under(network, fixed, moving)

    def _under(self, network: Predictor, fixed: Image, moving: Image) -> Alignment:
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
            seen = [found.fixed, found.moving, found.warped]
            one, other, warped = (i.data[0].cpu() for i in seen)
            # images are padded to one size; what none of them shows is black
            here, there, both = (1.0 if i.mask is None else i.mask[0].cpu() for i in seen)
            apart = [here * there * (one - other).abs(), both * (one - warped).abs()]
            rows.append(row_of_slices([here * one, there * other, both * warped, *apart]))
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


def _weights(start: str, network: Predictor) -> Mapping[str, Tensor]:
    """Those of a model, which must be of the same network."""
    found = load_model(start).predictor
    if str(found) != str(network):
        raise ValueError(
            f"{start} holds {found}, and {network} shall be trained; to go on from it write "
            f'--predictor "{found}"'
        )
    return found.state_dict()
