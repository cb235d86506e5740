"""Metric: training of a network to tell corresponding patches from shifted ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.structural import sampled
from coincide.networks.two_channel import SIDE, STEP, TwoChannel
from coincide.synthetic.noise import numbered, whole
from coincide.synthetic.shapes import shapes
from coincide.training.aligned import made_up
from coincide.training.loop import Task
from coincide.training.report import row_of_slices

GENERATOR = 1  # version of the synthetic data
SIZE = 44  # voxels of a synthetic scene along each axis
CROP = SIDE + STEP  # voxels of a crop along each axis: neighbours share most of their layers
KEPT = 8  # steps that one scene serves, each with other contrasts
HELD_OUT = 10_000_000  # numbers of steps that no training reaches
BATCHES = 16  # of a validation
SHOWN, REACH = 4, 8  # pairs on the page, and how far they are shifted, voxels
TURN, STRETCH = 0.25, 0.1  # radians, share: standard deviations
GAIN, OFFSET, GRAIN = 0.15, 0.15, 0.05  # of the intensities, whose standard deviation is one
FLATTER = 0.15  # standard deviation below which a patch has nothing to recognise


@dataclass(frozen=True)
class MetricRecipe:
    """What the metric is trained on.

    Args:
        seed: Of the weights and of everything it sees.
        crops: Crops of volumes of a step, and four times as many of pictures, half of them
            corresponding; each holds 2 patches along each axis.
        near: Least shift of patches that do not correspond, voxels.
        far: Largest such shift, voxels.
    """

    seed: int = 0
    crops: int = 16
    near: float = 2.0
    far: float = 8.0

    def __post_init__(self):
        if not 0 < self.near < self.far:
            raise ValueError(f"shifts go from near={self.near} to far={self.far}, near being less")
        if self.crops < 2:
            raise ValueError(f"give 2 crops a step or more, not {self.crops}")


class MetricTask(Task):
    r"""Patches of two contrasts at one place are told from those of which one is shifted.

    From few aligned pairs come ever new patches $a, b$: at random places, turned and stretched
    alike ($y = 1$), or the second or the first also shifted by 2 to 8 voxels in a random direction
    ($y = -1$). The network $f$ lowers

    $$\max(0, 1 - y\, f(a, b)).$$

    Args:
        recipe: How it is asked.
        pairs: Aligned images, (2, X, Y, Z) each, Z = 1 for pictures; none: random shapes in random
            contrasts, flat ones among them.
        held: As many pairs of another kind: those that are only validated on. None: every fifth
            of the pairs is kept back.
        names: What the pairs are, for the record.

    References:
        Simonovsky et al. (2016), doi:10.1007/978-3-319-46726-9_2.
    """

    network: TwoChannel

    def __init__(
        self,
        recipe: MetricRecipe,
        pairs: Sequence[Tensor] = (),
        held: Sequence[Tensor] = (),
        *,
        names: Sequence[str] = (),
    ):
        torch.manual_seed(recipe.seed)
        pairs = [_standardised(two) for two in pairs]
        self.recipe = recipe
        self.held = [_standardised(two) for two in held] or pairs[4::5]
        self.pairs = pairs if held else [two for n, two in enumerate(pairs) if n % 5 != 4]
        flat = {two.shape[-1] == 1 for two in [*self.pairs, *self.held]}
        if len(flat) > 1:
            raise ValueError("some images are pictures, others volumes; train on one kind")
        self.network = TwoChannel(dim=2 if flat == {True} else 3)
        self.settings = {"generator": GENERATOR, **asdict(recipe), "images": sorted(names)}
        self._scene: tuple[int, Tensor] | None = None

    def card(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """What the weights are, and what they were made from."""
        about = {"network": "two_channel", "arguments": {"dim": self.network.dim}}
        return {**about, "data": dict(self.settings), **numbers}

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean hinge of a step."""
        random = numbered(self.recipe.seed, 2 * step + 1)
        crops, truth = self.crops(self._drawn(self.pairs, step, random), random)
        score = _scores(network, crops)
        truth = truth.to(score.device)[:, None]
        right = (score * truth > 0).float().mean()
        return F.relu(1 - truth * score).mean(), {"told apart": float(right)}

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Share of patches that are told right, of pairs that were not trained on."""
        # with fewer than five pairs there are none: other patches of the same ones
        source = self.held or self.pairs
        name = "right on pairs held back" if self.held or not self.pairs else "right on same pairs"
        found = []
        for number in range(BATCHES):
            step = HELD_OUT + KEPT * number
            random = numbered(self.recipe.seed, 2 * step + 1)
            crops, truth = self.crops(self._drawn(source, step, random), random)
            found.append((_scores(network, crops).cpu() * truth[:, None] > 0).float().flatten())
        return {name: float(torch.cat(found).mean())}

    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """What the network says of a pair at growing shifts, as bars."""
        told = (
            "Each row shows two contrasts and, as bars, how well the network takes them to agree "
            f"while the second is shifted by up to {REACH} voxels either way; the middle bar "
            "should be the highest."
        )
        rows = []
        for number in range(SHOWN):
            random = numbered(self.recipe.seed, 2 * (HELD_OUT + KEPT * number) + 1)
            two = self._drawn(self.held or self.pairs, HELD_OUT + KEPT * number, random)
            flat = two.squeeze([a for a, n in enumerate(two.shape) if n == 1])
            bars = _bars(shift_response(network, flat), flat.shape[1])
            grey = [((one + 2) / 4)[None] for one in flat]
            rows.append(np.concatenate([row_of_slices(grey), bars], 1))
        return told, rows

    def crops(self, pair: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pairs of crops, (P, 2, *S), and whether they correspond, 1 or -1, (P,)."""
        size = torch.tensor(pair.shape[1:])
        wide = (size > 1).float()
        count = self.recipe.crops * (1 if wide.all() else 4)
        truth = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0)
        way = F.normalize(torch.randn(count, 3, generator=random) * wide, dim=1)
        near, far = self.recipe.near, self.recipe.far
        way = way * (near + (far - near) * torch.rand(count, 1, generator=random))
        way = way * (truth < 0)[:, None]
        second = torch.rand(count, 1, generator=random) < 0.5
        centres = _textured(pair, count, random) + torch.rand(count, 3, generator=random) - 0.5
        around = torch.einsum("pij,qj->pqi", _matrices(wide, count, random), _offsets(wide))
        shifts = torch.stack([torch.where(second, 0, way), torch.where(second, way, 0)])
        shape = [CROP if n > 1 else 1 for n in size.tolist()]
        found = [
            sampled(image[None, None], (around + (centres + shift)[:, None]).flatten(0, 1)[None])
            for image, shift in zip(pair, shifts, strict=True)
        ]
        crops = torch.stack([one.view(count, *shape) for one in found], 1)
        crops = crops.squeeze([a + 2 for a, n in enumerate(shape) if n == 1])
        return _exposed(crops, random), truth

    def _drawn(self, source: Sequence[Tensor], step: int, random: torch.Generator) -> Tensor:
        """The aligned pair of a step."""
        if source:
            pair = source[whole(random, 0, len(source))]
            # registration begins on coarser voxels
            wide = min(n for n in pair.shape[1:] if n > 1)
            factors = [f for f in (1, 2, 4) if f == 1 or wide // f >= CROP]
            factor = factors[whole(random, 0, len(factors))]
            size = [factor if n > 1 else 1 for n in pair.shape[1:]]
            return _standardised(F.avg_pool3d(pair, size))
        number = step // KEPT
        if self._scene is None or self._scene[0] != number:
            self._scene = number, shapes(SIZE, numbered(self.recipe.seed, 2 * number))
        return _standardised(made_up(self._scene[1], random))


@torch.no_grad()
def shift_response(network: nn.Module, pair: Tensor) -> Tensor:
    """Mean output while the second image is shifted along its first axis, (2 R + 1,).

    R is 8 voxels, or what an image that is not much longer than a patch leaves.

    Args:
        network: Two channels to one.
        pair: (2, *S), aligned.
    """
    kind = next(network.parameters())
    n = pair.shape[1]
    reach = min(REACH, (n - SIDE) // 2)
    one = pair[:1].narrow(1, reach, n - 2 * reach)
    return torch.stack(
        [
            network(torch.cat([one, pair[1:].narrow(1, by, n - 2 * reach)])[None].to(kind)).mean()
            for by in range(2 * reach + 1)
        ]
    ).cpu()


def _bars(values: Tensor, height: int) -> np.ndarray:
    """Numbers as a picture, (H, W, 3), from the least to the largest."""
    share = (values - values.min()) / (values.max() - values.min()).clamp_min(1e-6)
    filled = torch.arange(height)[:, None] >= (1 - share)[None] * (height - 1)
    grey = torch.where(filled, 90, 255).to(torch.uint8)
    wide = torch.cat([grey[..., None], torch.full_like(grey, 255)[..., None]], -1).flatten(1)
    return wide[..., None].expand(-1, -1, 3).numpy()


def _scores(network: nn.Module, crops: Tensor) -> Tensor:
    """Of every patch of every crop, (P, N)."""
    return network(crops.to(next(network.parameters()).device)).flatten(1)


def _textured(pair: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Voxels around which the first image shows something, (P, 3)."""
    kernel = [min(9, n if n % 2 else n - 1) for n in pair.shape[1:]]
    pad = [k // 2 for k in kernel]
    mean, square = (
        F.avg_pool3d(values[None, None], kernel, 1, pad, count_include_pad=False)[0, 0]
        for values in (pair[0], pair[0].square())
    )
    voxels = (square - mean.square() > FLATTER**2).nonzero()
    if not len(voxels):
        voxels = torch.ones_like(mean).nonzero()
    return voxels[torch.randint(len(voxels), (count,), generator=random)].float()


def _matrices(wide: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Small turns, stretches and random mirrors, (P, 3, 3); one slice stays in its plane."""
    skew = TURN * torch.randn(count, 3, 3, generator=random) * wide * wide[:, None]
    stretch = (STRETCH * torch.randn(count, 3, generator=random) * wide).exp()
    mirror = torch.where(torch.rand(count, 3, generator=random) < 0.5, 1.0, -1.0)
    return torch.linalg.matrix_exp(skew.triu(1) - skew.triu(1).mT) * (stretch * mirror)[:, None]


def _offsets(wide: Tensor) -> Tensor:
    """Voxels of a crop from its middle, (Q, 3)."""
    axes = [
        torch.arange(CROP, dtype=torch.float32) - CROP // 2 if w else torch.zeros(1)
        for w in wide.tolist()
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)


def _exposed(crops: Tensor, random: torch.Generator) -> Tensor:
    """Crops, each with its own gain, offset and noise."""
    each = (*crops.shape[:2], *(1,) * (crops.ndim - 2))
    gain = (GAIN * torch.randn(each, generator=random)).exp()
    offset = OFFSET * torch.randn(each, generator=random)
    grain = GRAIN * torch.rand(each, generator=random)
    return gain * crops + offset + grain * torch.randn(crops.shape, generator=random)


def _standardised(pair: Tensor) -> Tensor:
    """Both images with mean 0 and variance 1."""
    return F.layer_norm(pair.float(), pair.shape[1:])
