"""ICBM152: a real average brain with its tissue maps, without a download."""

from typing import Any, NamedTuple

import numpy as np

from coincide.space.image import Image


class Brain(NamedTuple):
    """The average brain of 152 people, skull removed, in MNI space.

    Attributes:
        t1: T1-weighted intensities in [0, 1].
        grey: Share of grey matter in each voxel, [0, 1].
        white: Share of white matter in each voxel, [0, 1].
    """

    t1: Image
    grey: Image
    white: Image


def icbm152(resolution: int = 1) -> Brain:
    """The ICBM152 2009a symmetric average brain, from the files that nilearn carries.

    Args:
        resolution: Voxel size, mm, >= 1.

    Raises:
        ModuleNotFoundError: where nilearn is not installed.

    References:
        Fonov et al. (2011), doi:10.1016/j.neuroimage.2010.07.033.
    """
    try:
        from nilearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the ICBM152 brain comes with nilearn, which is not installed; "
            "pip install 'coincide[demo]'"
        ) from error
    return Brain(
        _image(datasets.load_mni152_template(resolution)),
        _image(datasets.load_mni152_gm_template(resolution)),
        _image(datasets.load_mni152_wm_template(resolution)),
    )


def second_contrast(grey: Image, white: Image, t1: Image) -> Image:
    """What T2 weighting would show of a brain: fluid bright, grey matter between, white dark.

    Args:
        grey: Share of grey matter, [0, 1].
        white: Share of white matter, [0, 1].
        t1: T1-weighted image on the same grid; says by values above zero where the brain is.

    Returns:
        Image in [0, 1], zero outside the brain.
    """
    tissue = grey.data + white.data
    share = 1 / tissue.clamp_min(1)  # the maps may overlap
    fluid = (1 - tissue).clamp_min(0)
    inside = (t1.data > 0.02 * t1.data.max()).to(t1.data.dtype)
    return t1.with_data((fluid + share * (0.6 * grey.data + 0.35 * white.data)) * inside)


def _image(nifti: Any) -> Image:
    """A nibabel image; what is darker than 1 % was made by its interpolation and becomes zero."""
    data = np.asarray(nifti.dataobj, dtype=np.float32)
    return Image.from_array(np.where(data < 0.01, 0, data).clip(0, 1), nifti.affine)
