"""Images of MONAI, TorchIO and ANTs, none of which need be installed, nor is imported here."""

from typing import Any

import numpy as np

from coincide.files.geometry import implausible
from coincide.files.lps import affine_of, flip
from coincide.files.stored import Stored

# package and class; a class derived from one of them is one, too
KINDS = {
    ("monai", "MetaTensor"): "monai",
    ("torchio", "Image"): "torchio",
    ("ants", "ANTsImage"): "ants",
}


def foreign_kind(value: Any) -> str:
    """`monai`, `torchio` or `ants` if the value is an image of theirs; empty if not."""
    for kind in type(value).__mro__:
        name = kind.__module__.partition(".")[0], kind.__name__
        if name in KINDS:
            return KINDS[name]
    return ""


def from_foreign(value: Any) -> Stored:
    """Voxels and geometry of an image of MONAI, TorchIO or ANTs.

    Raises:
        ValueError: if it is a batch, or its affine does not fit.
    """
    return {"monai": _from_monai, "torchio": _from_torchio, "ants": _from_ants}[
        foreign_kind(value)
    ](value)


def channel_axis(value: Any) -> int | None:
    """Where the channels of a MetaTensor are: 0 first, as MONAI wants them, -1 last; None: nowhere.

    What LoadImage gives has no channels, or has them where the file had them, until
    EnsureChannelFirst has seen it.
    """
    shape = tuple(value.shape)
    space = value.meta.get("spatial_shape")
    dim = len(value.affine) - 1 if space is None else len(space)
    if len(shape) == dim:
        return None
    if len(shape) != dim + 1:
        raise ValueError(
            f"a MetaTensor of shape {shape} is a batch of images of {dim} axes; give one of them"
        )
    last = space is not None and shape[:-1] == tuple(space) and shape[1:] != tuple(space)
    return -1 if last else 0


def _from_monai(value: Any) -> Stored:
    array, axis = value.detach().cpu().numpy(), channel_axis(value)
    array = np.asarray(array)
    if axis == 0:
        array = np.moveaxis(array, 0, -1)
    dim = array.ndim - (axis is not None)
    affine = np.asarray(value.affine.detach().cpu().numpy(), np.float64)
    affine = _in_plane(affine, dim)
    if str(value.meta.get("space")).upper().endswith("LPS"):
        affine[:-1] *= flip(dim)[:, None]
    return _of(array, affine, channels=axis is not None)


def _from_torchio(value: Any) -> Stored:
    array = np.moveaxis(value.data.detach().cpu().numpy(), 0, -1)
    dim = 3
    if value.is_2d():
        array, dim = array[..., 0, :], 2
    return _of(array, _in_plane(np.array(value.affine, np.float64), dim), channels=True)


def _from_ants(value: Any) -> Stored:
    array, dim = np.asarray(value.numpy()), int(value.dimension)
    kept = min(dim, 3)
    geometry = (np.array(value.spacing), np.array(value.direction), np.array(value.origin))
    spacing, direction, origin = geometry
    affine = affine_of(spacing[:kept], direction.reshape(dim, dim)[:kept, :kept], origin[:kept])
    if dim > kept:
        return Stored(array, affine, channels="frames", warnings=implausible(affine, array.shape))
    return _of(array, affine, channels=int(value.components) > 1)


def _of(array: np.ndarray, affine: np.ndarray, *, channels: bool) -> Stored:
    """Channels last; a single one is none."""
    notes = implausible(affine, array.shape)
    if channels and array.shape[-1] == 1:
        return Stored(array[..., 0], affine, warnings=notes)
    colour = channels and array.shape[-1] in (3, 4) and array.dtype == np.uint8
    kind = ("colour" if colour else "vectors") if channels else ""
    return Stored(array, affine, warnings=notes, channels=kind)


def _in_plane(affine: np.ndarray, dim: int) -> np.ndarray:
    """The affine of an image of `dim` axes, whose package writes all affines with three.

    Raises:
        ValueError: if its plane is not that of x and y.
    """
    size = len(affine) - 1
    if size == dim:
        return affine.copy()
    if dim != 2 or size != 3:
        raise ValueError(f"an affine of {size} axes does not fit an image of {dim}")
    if not np.allclose(affine[2, :2], 0, atol=1e-4):
        raise ValueError(
            "this image of one slice does not lie in the x-y plane of the world; give its NIfTI "
            "file, or an array and an affine of two axes"
        )
    return affine[np.ix_([0, 1, 3], [0, 1, 3])]
