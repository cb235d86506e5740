"""VoxelMorph: a U-Net over both images."""

from torch import Tensor

from coincide.networks.unet import UNet
from coincide.predictors.placed import as_displacement, as_velocity
from coincide.predictors.predictor import Predictor
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.transforms.transform import Transform


@named("voxelmorph")
class VoxelMorph(Predictor):
    """U-Net that sees both images at once and gives a velocity, or a displacement.

    From images alone it stays at the identity for long: train it with `--warm 0.4`, or with labels.
    It works on half the resolution of the images throughout, two voxels along each axis as eight
    channels, which is several times faster than layers on all voxels.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of each resolution, from half that of the image.
        diffeomorphic: Whether it gives a velocity, whose flow does not fold, or a displacement.
        dim: 2 or 3 axes.

    References:
        Balakrishnan et al. (2019), arXiv:1809.05231; Dalca et al. (2019), arXiv:1903.03545, for
        velocities.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (16, 32, 32, 32),
        diffeomorphic: bool = True,
        dim: int = 3,
    ):
        super().__init__(dim, spacing)
        self.widths, self.diffeomorphic = tuple(widths), diffeomorphic
        self.network = UNet(dim, self.widths, made=dim)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:  # noqa: ARG002
        """Vectors in voxels of the images, on half their resolution."""
        return 2 * self.network(fixed, moving)

    def placed(self, vectors: Tensor, grid: Grid) -> Transform:
        """The flow along them, or themselves."""
        return (as_velocity if self.diffeomorphic else as_displacement)(vectors, grid)
