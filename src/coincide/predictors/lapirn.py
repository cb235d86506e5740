"""LapIRN: three networks, coarse to fine."""

from torch import Tensor

from coincide.networks.laplacian_pyramid import LaplacianPyramid
from coincide.predictors.placed import as_velocity
from coincide.predictors.predictor import Predictor
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.transforms.velocity import Velocity


@named("lapirn")
class LapIRN(Predictor):
    """Laplacian pyramid: a velocity from coarse images, corrected on finer ones.

    All three networks are trained together, after a warm-up with `mse`, instead of one after the
    other: `--warm 0.3`. The finest works on half the resolution of the images.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        width: Channels of every layer.
        blocks: Residual blocks of each network.
        conditional: Whether a weight of smoothness is an argument of the prediction.
        dim: 2 or 3 axes.

    References:
        Mok, Chung (2020), "Large Deformation Diffeomorphic Image Registration with Laplacian
        Pyramid Networks", arXiv:2006.16148; Mok, Chung (2021), arXiv:2106.12673, where conditional.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        width: int = 16,
        blocks: int = 3,
        conditional: bool = False,
        dim: int = 3,
    ):
        super().__init__(dim, spacing, conditional=conditional)
        self.width, self.blocks = width, blocks
        self.network = LaplacianPyramid(dim, width, blocks, conditional=conditional)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:
        """Velocity in voxels of the images, on half their resolution."""
        return 2 * self.network(fixed, moving, weight)

    def placed(self, vectors: Tensor, grid: Grid) -> Velocity:
        """The flow along it."""
        return as_velocity(vectors, grid)
