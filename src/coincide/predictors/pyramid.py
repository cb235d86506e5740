"""Pyramid: compare features of both images on every resolution, coarse to fine."""

from torch import Tensor

from coincide.networks.correlation_pyramid import CorrelationPyramid
from coincide.predictors.placed import as_velocity
from coincide.predictors.predictor import Predictor
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.transforms.velocity import Velocity


@named("pyramid")
class Pyramid(Predictor):
    r"""Correlation pyramid: the fastest to train, and from images alone.

    The features of both images come from one encoder. From coarse to fine, each place of the
    fixed image is compared with the neighbours of the place to which it has been mapped, and the
    velocity is corrected by what is found; $T = \exp(v)$ does not fold. See `CorrelationPyramid`.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of the features on each resolution, from half that of the image.
        hidden: Channels of the layers that correct the velocity, likewise.
        conditional: Whether a weight of smoothness is an argument of the prediction.
        dim: 2 or 3 axes.

    Example:
        >>> transform = Pyramid(dim=2)(image, image)
        >>> bool(transform.displacement(image.grid).abs().max() < 0.1)  # untrained
        True

    References:
        Sun et al. (2018), "PWC-Net", arXiv:1709.02371; Kang et al. (2022), "Dual-stream pyramid
        registration network", doi:10.1016/j.media.2022.102379.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (8, 16, 32, 32),
        hidden: tuple[int, ...] = (16, 32, 32, 32),
        conditional: bool = False,
        dim: int = 3,
    ):
        super().__init__(dim, spacing, conditional=conditional)
        self.widths, self.hidden = tuple(widths), tuple(hidden)
        self.network = CorrelationPyramid(dim, self.widths, self.hidden, conditional=conditional)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:
        """Velocity in voxels of the images on half their resolution."""
        # a coarse voxel is two of the images
        return 2 * self.network(fixed, moving, weight)

    def placed(self, vectors: Tensor, grid: Grid) -> Velocity:
        """The flow along it."""
        return as_velocity(vectors, grid)
