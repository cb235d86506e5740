"""MIDIR: control points of a smooth velocity."""

import numpy as np
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.networks.unet import UNet
from coincide.predictors.placed import half
from coincide.predictors.predictor import Predictor
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.transforms.bspline_velocity import BSplineVelocity

APART = 4  # voxels between control points


@named("midir")
class MIDIR(Predictor):
    """U-Net that ends on a quarter of the resolution, at control points of a B-spline velocity.

    The field is as smooth as cubic splines are, with few numbers; its flow does not fold.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of each resolution, from half that of the image.
        dim: 2 or 3 axes.

    References:
        Qiu et al. (2021), "Learning Diffeomorphic and Modality-invariant Registration using
        B-splines", https://proceedings.mlr.press/v143/qiu21a.html.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (16, 32, 32, 32),
        dim: int = 3,
    ):
        super().__init__(dim, spacing)
        self.widths = tuple(widths)
        self.network = UNet(dim, self.widths, made=dim, truncated=1)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:  # noqa: ARG002
        """Control points in voxels of the images."""
        found = self.network(fixed, moving)
        # a spline reaches two control points beyond the voxels at each end
        return APART * F.pad(found, (2, 2) * self.dim, mode="replicate")

    def placed(self, vectors: Tensor, grid: Grid) -> BSplineVelocity:
        """The flow along the spline of these control points."""
        shape = np.array(vectors.shape[2:])
        affine = grid.affine.copy()
        affine[:-1, :-1] *= APART
        # the first control point that the network gave lies in the middle of the first voxels
        affine[:-1, -1] = grid.to_world(np.full(grid.dim, (APART - 1) / 2 - 2 * APART))
        return BSplineVelocity(
            float(grid.spacing.min()) * APART,
            coefficients=vectors,
            grid=Grid(tuple(int(n) for n in shape), affine),
            field_grid=half(grid),
        )
