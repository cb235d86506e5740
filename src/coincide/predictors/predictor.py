"""Predictor: the interface of networks that look at two images and give a transform."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from coincide.networks.intensity import normalised
from coincide.networks.precision import Precision, computing
from coincide.predictors.working import working_grid
from coincide.registry import positive, written
from coincide.space.grid import Grid, transform_vectors
from coincide.space.image import Image
from coincide.space.orientation import oriented
from coincide.space.pyramid import at
from coincide.space.sampling import resample
from coincide.transforms.transform import Transform


class Predictor(nn.Module, ABC):
    """Two images in, a transform out; whatever their sizes, voxels and orientations.

    Both images are shown to the network on one grid: cubes of `spacing` over the fixed image, axes
    in the order and sense of the world, intensities from 0 to 1 between percentiles, and what lies
    outside continued. The network answers in voxels, which become millimetres of the world again,
    on a grid of its own over the fixed image.

    What it is called with makes the network; its weights are random until it is trained, and are
    read from a file by `load_model`.

    Args:
        dim: 2 or 3 axes.
        spacing: Edge of the cubes, mm; 0: the finest voxel edge of the fixed image.
        conditional: Whether it is told a weight from 0 to 1, which it was trained for all of: how
            much a smooth field counts beside similar images.
    """

    name: ClassVar[str]
    precision: Precision = "float32"  # of the network's layers; it is no part of the model

    def __init__(self, dim: int, spacing: float, *, conditional: bool = False):
        super().__init__()
        self.dim, self.spacing, self.conditional = dim, spacing, conditional
        if dim not in (2, 3):
            raise ValueError(f"{self.name} takes dim 2 or 3, not {dim}")
        positive(self, "spacing", zero=True)

    def __str__(self) -> str:
        return written(self)

    @abstractmethod
    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:
        """What the network answers, in voxels, (B, D, *M) on a lattice that `placed` knows.

        Channels after the first D may hold what else it says of these vectors.

        Args:
            fixed: (B, 1, *S), about 0 to 1, every size even.
            moving: The same.
            weight: What a conditional network is told; None for any other.
        """

    @abstractmethod
    def placed(self, vectors: Tensor, grid: Grid) -> Transform:
        """The answer as a transform.

        Args:
            vectors: What was proposed, in mm along the axes of the world, float32.
            grid: Where the voxels lay that the network was shown.
        """

    def forward(self, fixed: Image, moving: Image, weight: float | None = None) -> Transform:
        """The transform that brings a moving image to a fixed one.

        Args:
            fixed: Image that stays, (B, 1, *S).
            moving: Image that is mapped, (B, 1, *M) on any grid in the same world, roughly aligned.
            weight: From 0, images as similar as can be, to 1, a field as smooth as can be; for
                conditional networks, and for these only.

        Returns:
            Fixed-world to moving-world points, mm; with the graph of the network where it is
            trained.

        Raises:
            ValueError: if the images have another dimension than the network, or more than one
                channel, or the weight is missing, not wanted, or outside of its range.
        """
        vectors, grid = self.answered(fixed, moving, weight)
        return self.in_world(vectors[:, : self.dim], grid)

    def trained(
        self, fixed: Image, moving: Image, weight: float | None, random: torch.Generator
    ) -> tuple[Transform, Tensor]:
        """What a step of training looks at, and what it lowers beside the objective.

        Args:
            fixed: See `forward`.
            moving: See `forward`.
            weight: See `forward`.
            random: Where chance has a part in the answer.
        """
        del random
        return self(fixed, moving, weight), torch.zeros((), device=fixed.data.device)

    def answered(self, fixed: Image, moving: Image, weight: float | None) -> tuple[Tensor, Grid]:
        """What the network answers, float32, and where the voxels lay that it was shown."""
        one, other, grid = self.seen(fixed, moving, weight)
        return self.answer(one, other, weight), grid

    def seen(
        self, fixed: Image, moving: Image, weight: float | None
    ) -> tuple[Tensor, Tensor, Grid]:
        """Both images as the network is shown them, (B, 1, *S), and where their voxels lie."""
        self._check(fixed, moving, weight)
        grid = working_grid(fixed.grid, self.spacing)
        with torch.no_grad():
            return shown(fixed, grid), shown(moving, grid), grid

    def answer(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:
        """What the network proposes, computed in its precision, float32."""
        with computing(self.precision, fixed.device):
            return self.propose(fixed, moving, weight).float()

    def in_world(self, vectors: Tensor, grid: Grid) -> Transform:
        """Vectors in voxels of a grid, (B, D, *M), as a transform of the world."""
        return self.placed(transform_vectors(grid.direction * grid.spacing, vectors), grid)

    def _check(self, fixed: Image, moving: Image, weight: float | None) -> None:
        for which, image in (("fixed", fixed), ("moving", moving)):
            if image.dim != self.dim or image.data.shape[1] != 1:
                raise ValueError(
                    f"{self.name} was made for images of {self.dim} axes and one channel; the "
                    f"{which} image has {image.dim} and {image.data.shape[1]}"
                )
        if self.conditional and weight is None:
            raise ValueError(f"this {self.name} takes a weight from 0 to 1, such as weight=0.3")
        if weight is not None and not self.conditional:
            raise ValueError(
                f"this {self.name} was trained for one weight and takes none; train one with "
                "conditional=True"
            )
        if weight is not None and not 0 <= weight <= 1:
            raise ValueError(f"a weight is a number from 0 to 1, not {weight}")


def shown(image: Image, grid: Grid) -> Tensor:
    """What the network is shown of an image, (B, 1, *S): from 0 to 1, and everywhere something."""
    image = oriented(image.float())
    own = image.grid
    # smoothed first where it is much finer
    ratio = np.floor(grid.spacing / own.spacing + 1e-6).astype(int)
    ratio = [max(1, int(r)) if n > 1 else 1 for r, n in zip(ratio, own.shape, strict=True)]
    image = at(image, own.shrink(ratio))
    grey = torch.stack([normalised(one) for one in image.data])
    if image.grid == grid:
        return grey
    # with a mask, so that its border goes on outside
    return resample(Image(grey, image.grid, torch.ones_like(grey)), grid).data
