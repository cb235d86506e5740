"""Structural: contrastive training of the structural network, without patients or labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.kernels.smooth import gaussian
from coincide.networks.precision import Precision, computing
from coincide.networks.structural import Structural, sampled
from coincide.report.components import components
from coincide.synthetic.noise import numbered, whole
from coincide.synthetic.shapes import shapes
from coincide.training.loop import Task
from coincide.training.report import row_of_slices
from coincide.training.views import Pair, pair

GENERATOR = 1  # version of the synthetic data
KEPT = 6  # steps that one scene serves, each with other views and contrasts
SMOOTHED = 500  # step from which the descriptors are smoothed in the loss, as they are in use
HELD_OUT = 10_000_000  # numbers of steps that no training reaches
PAIRS, PROBES, CUBE = 24, 60, 5  # of a validation
SHOWN = 4  # pairs of views on the page


@dataclass(frozen=True)
class Recipe:
    """What the structural network is trained on, and how it is asked.

    Args:
        seed: Of the weights and of everything it sees.
        size: Voxels of a view along each axis.
        points: Places that are told apart in each step.
        temperature: Of the softmax over places.
        near: Places that lie closer together than this are not told apart, voxels.
        sigma: Standard deviation of the Gaussian on the descriptors, voxels.
        share: How often a scene is one of the given images, where there are any.
        features: Features whose self-similarity is taken.
        precision: `float32` or `bfloat16`, of the encoder and decoder.
    """

    seed: int = 0
    size: int = 36
    points: int = 768
    temperature: float = 0.08
    near: float = 2.0
    sigma: float = 0.8
    share: float = 0.5
    features: int = 4
    precision: Precision = "float32"

    def __post_init__(self):
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision is float32 or bfloat16, not {self.precision!r}")


class StructuralTask(Task):
    """Places of two views of one anatomy are told apart by their descriptors alone.

    Both views have other contrasts, offsets, turns and bends; places near each other are the most
    frequent alternatives, and those too near are none.

    Args:
        recipe: What it is trained on.
        images: Grey values (X, Y, Z) from 0 to 1 of images to train on as well.
        names: What these are, for the record.

    References:
        Oord et al. (2018), "Representation Learning with Contrastive Predictive Coding",
        arXiv:1807.03748; Mok et al. (2024), arXiv:2402.18933.
    """

    network: Structural
    score = "found again"

    def __init__(
        self,
        recipe: Recipe,
        images: Sequence[Tensor] = (),
        *,
        names: Sequence[str] = (),
    ):
        torch.manual_seed(recipe.seed)
        self.recipe, self.images = recipe, tuple(images)
        self.network = Structural(features=recipe.features)
        self.settings = {"generator": GENERATOR, **asdict(recipe), "images": sorted(names)}
        self._scene: tuple[int, Tensor, bool] | None = None

    def card(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """What the weights are, and what they were made from."""
        return {
            "network": "structural",
            "arguments": {"features": self.recipe.features},
            "sigma": self.recipe.sigma,
            "data": dict(self.settings),
            **numbers,
        }

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy of telling every place apart, both ways."""
        assert isinstance(network, Structural)
        two = self.pair(step)
        one, other = self.descriptors(network, two, smooth=step >= SMOOTHED)
        logits = one @ other.T / self.recipe.temperature
        near = torch.cdist(two.places, two.places) < self.recipe.near
        near.fill_diagonal_(False)
        logits = logits.masked_fill(near.to(logits.device), -torch.inf)
        right = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        hit = (logits.argmax(1) == right).float().mean()
        return loss, {"told apart": float(hit)}

    def pair(self, step: int) -> Pair:
        """The two views of a step."""
        number = step // KEPT
        if self._scene is None or self._scene[0] != number:
            self._scene = (number, *self._new(number))
        _, scene, by_label = self._scene
        random = numbered(self.recipe.seed, 2 * step + 1)
        return pair(
            scene,
            random,
            size=self.recipe.size,
            count=self.recipe.points,
            painted_by_label=by_label,
        )

    def descriptors(self, network: Structural, two: Pair, *, smooth: bool) -> tuple[Tensor, Tensor]:
        """Of all places in both views, (P, C) each."""
        device = next(network.parameters()).device
        with computing(self.recipe.precision, device):
            features = network.backbone(two.images.to(device))
        points = two.points.to(device)
        found = described(network, features.float(), points, self.recipe.sigma if smooth else 0.0)
        return found[0], found[1]

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Share of places found again within one voxel, among a cube of ±5, in contrasts unseen."""
        assert isinstance(network, Structural)
        device = next(network.parameters()).device
        hits, others = [], []
        earlier: Tensor | None = None
        for number in range(PAIRS):
            two = self.pair(HELD_OUT + KEPT * number)
            found = smoothed(network(two.images.to(device)), self.recipe.sigma)
            here, there = two.points[:, :PROBES].to(device)
            wanted = sampled(found[:1], here[None])[0]
            hits.append(found_again(found[1:], there, wanted))
            if earlier is not None and earlier.shape == found.shape:
                others.append(found_again(earlier[1:], there, wanted))
            earlier = found
        return {
            "found again": float(torch.cat(hits).mean()),
            "found in another": float(torch.cat(others).mean()),
        }

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """Views of scenes unseen, and their descriptors as colours."""
        device = next(network.parameters()).device
        rows = []
        for number in range(SHOWN):
            two = self.pair(HELD_OUT + KEPT * number)
            found = smoothed(network(two.images.to(device)).cpu(), self.recipe.sigma)
            colours = components(found)
            rows.append(row_of_slices([two.images[0], colours[0], two.images[1], colours[1]]))
        return (
            "From left to right: a view, its descriptors, a view of the same anatomy in another "
            "contrast and at another place, its descriptors. Descriptors are drawn as three "
            "colours, the same in both views; where they agree, so do the colours.",
            rows,
        )

    def _new(self, number: int) -> tuple[Tensor, bool]:
        """A scene, and whether it holds labels."""
        random = numbered(self.recipe.seed, 2 * number)
        side = self.recipe.size + 16
        if self.images and float(torch.rand((), generator=random)) < self.recipe.share:
            return _crop(self.images[whole(random, 0, len(self.images))], side, random), False
        return shapes(side, random), True


def described(network: Structural, features: Tensor, points: Tensor, sigma: float) -> Tensor:
    """Descriptors at some places, smoothed over their six neighbours, (B, P, C), of length 1."""
    if sigma <= 0:
        return network.at(features, points)
    steps = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).to(points)
    around = (points[:, :, None] + steps).flatten(1, 2)
    found = network.at(features, around).unflatten(1, (points.shape[1], 7))
    beside = torch.exp(torch.tensor(-0.5 / sigma**2)).item()
    weight = torch.tensor([1.0, *[beside] * 6]).to(found)
    return F.normalize(torch.einsum("bpkc,k->bpc", found, weight), dim=-1)


def smoothed(descriptors: Tensor, sigma: float) -> Tensor:
    """Descriptors of all voxels, (B, C, *S), averaged by a Gaussian, of length 1 again."""
    widths = [sigma if n > 1 else 0.0 for n in descriptors.shape[2:]]
    return F.normalize(gaussian(descriptors, widths), dim=1)


def found_again(descriptors: Tensor, truth: Tensor, wanted: Tensor) -> Tensor:
    """Whether the most similar of a cube about the true place lies within a voxel, (P,) 0 or 1.

    Args:
        descriptors: Where it is looked for, (1, C, *S).
        truth: (P, 3) voxels with fractions.
        wanted: (P, C).
    """
    axis = torch.arange(-CUBE, CUBE + 1)
    steps = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flatten(0, 2)
    steps = steps.to(truth)
    around = (truth[:, None] + steps).flatten(0, 1)
    found = sampled(descriptors, around[None])[0].unflatten(0, (len(truth), len(steps)))
    best = torch.einsum("psc,pc->ps", found, wanted).argmax(1)
    return (steps[best].abs().amax(1) <= 1).float()


def _crop(image: Tensor, side: int, random: torch.Generator) -> Tensor:
    """A cube of an image, continued where the image is smaller."""
    starts = torch.tensor([whole(random, 0, max(1, n - side + 1)) for n in image.shape])
    axes = [torch.arange(side, dtype=torch.float32) for _ in range(3)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2) + starts
    return sampled(image[None, None].float(), points[None])[0, :, 0].view(side, side, side)
