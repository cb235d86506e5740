"""Labels: structures outlined in both images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.kernels.labels import label_sums
from coincide.objective import OnPair, PairedTerm, coarsened
from coincide.registry import named
from coincide.similarities.overlap import present
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import PerPair


@named("labels")
@dataclass(frozen=True)
class Labels(PairedTerm):
    r"""One minus a mean soft Dice coefficient of two label maps, used beside a similarity.

    $$
    1 - \frac{1}{\sum_l a_l} \sum_l a_l
        \frac{2 \int_\Omega F_l W_l}{\int_\Omega F_l + \int_\Omega W_l}, \qquad
    a_l = \sqrt{\textstyle\int_\Omega F_l}
    $$

    for the indicator images $F_l, W_l$ of the labels; background (0) does not count. The weights
    keep a small structure, whose Dice coefficient a single voxel changes much, from pulling
    hundreds of times harder than a large one. Any number of labels takes the time and memory of
    one image.

    Args:
        values: Which labels count; empty: all that the fixed map has.

    Example:
        >>> same = Labels().of(labels, labels)
        >>> bool(same(alignment).abs() < 1e-6)
        True

    References:
        Hu et al. (2018), doi:10.1016/j.media.2018.07.002, for labels that guide a registration.
    """

    values: tuple[int, ...] = ()

    def of(self, fixed: Image, moving: Image) -> OnPair:
        """The term for two label maps, each in the world of its image.

        Raises:
            ValueError: if none of the labels is in both maps.
        """
        both = set(self.values or present(fixed)) & set(present(fixed)) & set(present(moving))
        if not both:
            raise ValueError(
                f"no label is in both maps: the fixed one has {present(fixed)}, the moving one "
                f"{present(moving)}" + (f", asked for are {self.values}" if self.values else "")
            )
        return OnPair(self, fixed, moving)

    def cost(self, fixed: Image, moving: Image, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        if self not in alignment.prepared:
            alignment.prepared[self] = self._coded(fixed, moving, alignment.fixed)
        one, other, weight, count = alignment.prepared[self]
        here, there = alignment.fixed.grid, other.grid
        index, scale = here.index_in(there)[:-1], there.inverse[:-1, :-1]
        sums = label_sums(one, other.data, alignment.displacement, weight, index, scale, count)
        total = sums[:, 0] + sums[:, 1]
        # a weight, not something to be made smaller
        share = sums[:, 0].detach().sqrt()
        share = share / share.sum(1, keepdim=True).clamp_min(1e-6)
        return 1 - (share * 2 * sums[:, 2] / total.clamp_min(1e-6)).sum(1)

    def _coded(
        self, fixed: Image, moving: Image, beside: Image
    ) -> tuple[Tensor, Image, Tensor, int]:
        """Both maps as coarse as the images, their labels numbered; weights; how many labels."""
        labels = torch.tensor(self.values or present(fixed)).unique()
        device = beside.data.device
        near = resample(coarsened(fixed, beside.grid.finest), beside.grid, interpolation="label")
        assert near.mask is not None
        # a voxel counts where the fixed map and the fixed image both do
        weight = near.mask.to(device) * (1 if beside.mask is None else beside.mask)
        far = coarsened(moving, beside.grid.finest).with_mask(None).to(device)
        one = numbered(near.data, labels).to(device)
        return one, far.with_data(numbered(far.data, labels)), weight, len(labels)


def numbered(data: Tensor, labels: Tensor) -> Tensor:
    """Labels as their place in a sorted list, its length for what is not in it; int32."""
    labels = labels.to(data.device)
    place = torch.searchsorted(labels, data.to(labels.dtype)).clamp_max(len(labels) - 1)
    return torch.where(labels[place] == data, place, len(labels)).int()
