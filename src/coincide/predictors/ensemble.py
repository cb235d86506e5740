"""Ensemble: several predictors asked at once, and how far their answers lie apart."""

from collections.abc import Sequence

import torch

from coincide.predictors.predictor import Predictor
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement


@torch.no_grad()
def ensemble(
    predictors: Sequence[Predictor], fixed: Image, moving: Image, weight: float | None = None
) -> tuple[Displacement, Image]:
    r"""The mean of what several predictors say, and how far they lie from it.

    Networks of one kind, trained alike from different seeds, differ most where the images tell
    them least. The mean of their displacements $u_k$ is a better answer than that of one, and

    $$\sqrt{\frac{1}{K - 1} \sum_k |u_k - \bar u|^2}$$

    says where to doubt it. It knows nothing of an error that all of them make.

    Args:
        predictors: Two or more, of any kinds, such as `load_model(file).predictor`.
        fixed: One image, (1, 1, *S).
        moving: One image, (1, 1, *M).
        weight: What conditional networks are told; None for any other.

    Returns:
        The mean on the grid of the fixed image, and the spread there, mm, (1, 1, *S).

    Raises:
        ValueError: if there are fewer than two predictors, or one cannot be asked about such
            images.

    Example:
        >>> from coincide.predictors.pyramid import Pyramid
        >>> transform, spread = ensemble([Pyramid(), Pyramid()], image, image)
        >>> bool(spread.data.max() < 0.1)  # untrained
        True

    References:
        Lakshminarayanan et al. (2017), "Simple and Scalable Predictive Uncertainty Estimation using
        Deep Ensembles", arXiv:1612.01474.
    """
    if len(predictors) < 2:
        raise ValueError(f"an ensemble is made of 2 predictors or more, not of {len(predictors)}")
    fields = torch.cat([p(fixed, moving, weight).displacement(fixed.grid) for p in predictors])
    spread = fields.var(0, keepdim=True).sum(1, keepdim=True).sqrt()
    mean = Displacement(field=fields.mean(0, keepdim=True), grid=fixed.grid)
    return mean.requires_grad_(False), Image(spread, fixed.grid)
