"""Image: voxel values, where they lie, and where they count."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.shapes import PerPair


@dataclass(frozen=True, eq=False)
class Image:
    """A batch of images on one grid.

    Args:
        data: (B, C, *S); float32 intensities, or an integer type for label maps.
        grid: Where the voxels lie.
        mask: (B, 1, *S) weights in [0, 1] saying where the image counts; None: everywhere.

    Raises:
        ValueError: if the data or the mask do not have the shape of the grid.
    """

    data: Shaped[Tensor, "B C *S"]
    grid: Grid
    mask: Shaped[Tensor, "B 1 *S"] | None = None

    def __post_init__(self):
        if tuple(self.data.shape[2:]) != self.grid.shape:
            raise ValueError(
                f"data of shape {tuple(self.data.shape)} do not fit a grid of shape "
                f"{self.grid.shape}; give (B, C, {', '.join(map(str, self.grid.shape))})"
            )
        if self.mask is not None and tuple(self.mask.shape[2:]) != self.grid.shape:
            raise ValueError(
                f"the mask has shape {tuple(self.mask.shape[2:])}, its image {self.grid.shape}; "
                "resample the mask onto the image first"
            )

    @classmethod
    def from_array(cls, array: np.ndarray, affine: np.ndarray | None = None) -> "Image":
        """One image of one channel from an array (*S) and its affine (identity: 1 mm voxels)."""
        array = np.ascontiguousarray(array)
        affine = np.eye(array.ndim + 1) if affine is None else affine
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif array.dtype.kind in "ub":
            # labels are compared and indexed, for which torch has few unsigned types
            array = array.astype(np.int64)
        return cls(torch.from_numpy(array)[None, None], Grid(array.shape, affine))

    @property
    def dim(self) -> int:
        """Number of axes D."""
        return self.grid.dim

    def numpy(self) -> np.ndarray:
        """Voxels of the first channel of the first image, (*S)."""
        return self.data[0, 0].detach().cpu().numpy()

    def with_data(self, data: Tensor) -> "Image":
        """The same grid and mask with other voxel values, (B, C, *S)."""
        return replace(self, data=data)

    def with_mask(self, mask: Tensor | None) -> "Image":
        """The same voxels with another mask, (B, 1, *S)."""
        return replace(self, mask=mask)

    def weight(self) -> Tensor:
        """The mask with the dtype of the data, (B, 1, *S); ones where there is none."""
        if self.mask is None:
            return torch.ones_like(self.data[:, :1])
        return self.mask.to(self.data.dtype)

    def mean(self, values: Tensor) -> PerPair:
        """Mean over channels and mask of values (B, C, *S) on this grid, (B,)."""
        weight = self.weight()
        mass = values.shape[1] * weight.flatten(1).sum(1)
        return (weight * values).flatten(1).sum(1) / mass.clamp_min(1e-12)

    def average(self) -> Tensor:
        """Mean of each channel over the mask, (B, C, 1...)."""
        weight, voxels = self.weight(), tuple(range(2, self.data.ndim))
        mass = weight.sum(voxels, keepdim=True).clamp_min(1e-12)
        return (weight * self.data).sum(voxels, keepdim=True) / mass

    def standardised(self) -> "Image":
        """The image with mean 0 and variance 1 inside its mask, channel by channel."""
        weight = self.weight()
        voxels = tuple(range(2, self.data.ndim))
        mass = weight.sum(voxels, keepdim=True).clamp_min(1e-12)
        centred = self.data - self.average()
        spread = (weight * centred.square()).sum(voxels, keepdim=True) / mass
        return self.with_data(centred / spread.sqrt().clamp_min(1e-12))

    def range(self) -> tuple[PerPair, PerPair]:
        """Least and largest value inside the mask, (B,) each."""
        flat = self.data.flatten(1)
        if self.mask is None:
            return flat.amin(1), flat.amax(1)
        # a choice, not a product: infinity times zero is not a number
        inside = (self.mask > 0).expand_as(self.data).flatten(1)
        low = torch.where(inside, flat, torch.inf).amin(1)
        high = torch.where(inside, flat, -torch.inf).amax(1)
        return low, high

    def float(self) -> "Image":
        """The same image with float32 voxels."""
        return replace(self, data=self.data.to(torch.float32))

    def pair(self, index: int) -> "Image":
        """One image of the batch, (1, C, *S); of a batch of one, that one."""
        data, mask = (
            t if t is None or len(t) == 1 else t[index : index + 1] for t in (self.data, self.mask)
        )
        assert data is not None
        return Image(data, self.grid, mask)

    def to(self, device: str | torch.device) -> "Image":
        """The same image on another device."""
        mask = None if self.mask is None else self.mask.to(device)
        return replace(self, data=self.data.to(device), mask=mask)

    def crop(self, start: tuple[int, ...], stop: tuple[int, ...]) -> "Image":
        """The box from voxel `start` up to, not including, `stop`; both inside the image."""
        box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))
        mask = None if self.mask is None else self.mask[box].contiguous()
        return Image(self.data[box].contiguous(), self.grid.crop(start, stop), mask)
