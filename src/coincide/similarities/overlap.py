"""Soft Dice of label maps."""

from dataclasses import dataclass

import torch

from coincide.features.discrete import refuse_gradient
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("overlap")
@dataclass(frozen=True)
class Overlap(Similarity):
    r"""One minus the mean soft Dice coefficient of label maps.

    $$1 - \frac{1}{L} \sum_l \frac{2 \int_\Omega F_l W_l}{\int_\Omega F_l + \int_\Omega W_l}$$

    for the indicator images $F_l, W_l$ of the labels; background (0) does not count. An
    indicator image is made of every label; `labels` is the same cost without them, to be used
    beside an image similarity.

    Args:
        labels: Which labels count; empty: all that the fixed map has.

    Shape:
        Integer label maps (B, 1, *S); returns (B,) in [0, 1], 0 is best.

    Example:
        >>> labels = image.with_data((image.data > 0.5).long())
        >>> Overlap(labels=(1,)).compare(*[Overlap(labels=(1,)).prepare(labels)] * 2)
        tensor([0.])
    """

    labels: tuple[int, ...] = ()

    def prepare(self, image: Image) -> Image:
        """One indicator image a label, (B, L, *S) float32."""
        return indicators(image, self.labels or present(image))

    def prepared(self, fixed: Image, moving: Image) -> tuple[Image, Image]:
        """Indicator images of both maps, of the same labels."""
        labels = self.labels or present(fixed)
        return indicators(fixed, labels), indicators(moving, labels)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        weight = warped.weight()
        voxels = tuple(range(2, fixed.data.ndim))
        common = 2 * (weight * fixed.data * warped.data).sum(voxels)
        total = (weight * (fixed.data + warped.data)).sum(voxels)
        # a label that neither map shows here would count as missed
        present = (total > 0).to(total.dtype)
        score = (present * common / total.clamp_min(1e-6)).sum(1)
        return 1 - score / present.sum(1).clamp_min(1)


def present(image: Image) -> tuple[int, ...]:
    """Labels of a map inside its mask, in order, without the background; 1 if there are none."""
    data = image.data if image.mask is None else image.data[image.mask.expand_as(image.data) > 0]
    return tuple(int(v) for v in data.unique() if v != 0) or (1,)


def indicators(image: Image, labels: tuple[int, ...]) -> Image:
    """One image a label, 1 where the map has it and 0 elsewhere, (B, L, *S) float32.

    Raises:
        ValueError: if the map needs a gradient, which it cannot have.
    """
    refuse_gradient(image, "overlap")
    return image.with_data(torch.cat([(image.data == value).float() for value in labels], 1))
