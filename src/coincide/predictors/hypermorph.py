"""HyperMorph: a U-Net whose weights are made for a weight of smoothness."""

from torch import Tensor

from coincide.networks.hypernetwork import Hypernetwork
from coincide.networks.unet import UNet
from coincide.predictors.placed import as_velocity
from coincide.predictors.predictor import Predictor
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.transforms.velocity import Velocity


@named("hypermorph")
class HyperMorph(Predictor):
    """The network of `voxelmorph`, its weights made by another for how smooth the field shall be.

    Trained once, for all weights from 0 to 1; which one is said when it is asked.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of each resolution, from half that of the image.
        rank: Numbers from which all weights are made.
        dim: 2 or 3 axes.

    References:
        Hoopes et al. (2021), arXiv:2101.01035.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (16, 32, 32, 32),
        rank: int = 4,
        dim: int = 3,
    ):
        super().__init__(dim, spacing, conditional=True)
        self.widths, self.rank = tuple(widths), rank
        self.network = Hypernetwork(UNet(dim, self.widths, made=dim), rank=rank)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:
        """Velocity in voxels of the images, on half their resolution."""
        assert weight is not None
        return 2 * self.network(weight, fixed, moving)

    def placed(self, vectors: Tensor, grid: Grid) -> Velocity:
        """The flow along it."""
        return as_velocity(vectors, grid)
