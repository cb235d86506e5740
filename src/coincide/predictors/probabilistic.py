"""Probabilistic: a U-Net that also says how sure it is of each vector."""

import math

import torch
from torch import Tensor

from coincide.networks.unet import UNet
from coincide.predictors.placed import as_velocity
from coincide.predictors.predictor import Predictor
from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import Velocity

CERTAIN = -4.0  # logarithm of the variance, voxels of half the resolution, where training begins


@named("probabilistic")
class Probabilistic(Predictor):
    r"""VoxelMorph that gives mean and variance of a velocity, so that samples can be drawn.

    Where nothing in the images tells a velocity from its neighbours, as inside of even tissue, many
    will do, and the samples differ. Training lowers, over samples $v$, the free energy

    $$ \mathrm{E}_v \bigl[ S(F, M \circ \exp v) + R(v) \bigr] -
       \tau \, \frac{1}{|\Omega|} \int_\Omega \tfrac{1}{2} \sum_d \log \sigma_d^2 \, \mathrm{d}x $$

    which is the negative evidence bound of VoxelMorph, with costs per voxel: the penalty $R$ is the
    prior, $\tau$ the noise.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of each resolution, from half that of the image.
        temperature: τ, in units of the cost; larger, and samples lie further apart.
        dim: 2 or 3 axes.

    References:
        Dalca et al. (2019), "Unsupervised Learning of Probabilistic Diffeomorphic Registration for
        Images and Surfaces", arXiv:1903.03545.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (16, 32, 32, 32),
        temperature: float = 0.01,
        dim: int = 3,
    ):
        super().__init__(dim, spacing)
        self.widths, self.temperature = tuple(widths), temperature
        positive(self, "temperature")
        self.network = UNet(dim, self.widths, made=2 * dim)
        with torch.no_grad():
            self.network.head.bias[dim:] = CERTAIN  # type: ignore[index]

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:  # noqa: ARG002
        """Mean velocity in voxels of the images, then the logarithm of their variance."""
        found = self.network(fixed, moving).float()
        mean, spread = found.split(self.dim, 1)
        # a coarse voxel is two of the images; held, so that no exponential overflows
        return torch.cat([2 * mean, spread.clamp(-20, 4) + 2 * math.log(2)], 1)

    def placed(self, vectors: Tensor, grid: Grid) -> Velocity:
        """The flow along it."""
        return as_velocity(vectors, grid)

    def trained(
        self, fixed: Image, moving: Image, weight: float | None, random: torch.Generator
    ) -> tuple[Transform, Tensor]:
        """One sample of each pair, and minus the entropy."""
        answer, grid = self.answered(fixed, moving, weight)
        mean, spread = answer.split(self.dim, 1)
        entropy = 0.5 * spread.sum(1).mean()
        return self.in_world(_drawn(mean, spread, random), grid), -self.temperature * entropy

    @torch.no_grad()
    def samples(self, fixed: Image, moving: Image, count: int, *, seed: int = 0) -> Transform:
        """Transforms that the images allow, as one of `count` pairs.

        Args:
            fixed: One image.
            moving: One image.
            count: How many.
            seed: Which ones.
        """
        answer, grid = self.answered(fixed, moving, None)
        mean, spread = answer.expand(count, *answer.shape[1:]).split(self.dim, 1)
        random = torch.Generator().manual_seed(seed)
        return self.in_world(_drawn(mean, spread, random), grid)

    @torch.no_grad()
    def uncertainty(self, fixed: Image, moving: Image, *, count: int = 20, seed: int = 0) -> Image:
        """How far samples lie from their mean at each voxel of the fixed image, mm, (1, 1, *S).

        Args:
            fixed: One image.
            moving: One image.
            count: Samples, two or more.
            seed: Which ones.
        """
        field = self.samples(fixed, moving, count, seed=seed).displacement(fixed.grid)
        return Image(field.var(0, keepdim=True).sum(1, keepdim=True).sqrt(), fixed.grid)


def _drawn(mean: Tensor, spread: Tensor, random: torch.Generator) -> Tensor:
    """A sample around each mean; the random numbers are those of the CPU on every device."""
    noise = torch.randn(mean.shape, generator=random).to(mean.device)
    return mean + (0.5 * spread).exp() * noise
