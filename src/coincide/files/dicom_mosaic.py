"""Siemens' mosaic: a whole volume, slice beside slice, in what looks like one DICOM slice."""

import base64
import binascii
import struct
import warnings
from math import ceil, sqrt
from typing import Any

import numpy as np

from coincide.files.dicom_slice import Slice, opened, pixels, words
from coincide.files.lps import affine_of
from coincide.files.stored import Stored

OWNER = "SIEMENS CSA HEADER"
UNREADABLE = (binascii.Error, struct.error, ValueError, AssertionError)


def read_mosaic(one: Slice) -> Stored:
    """Take the tiles of a mosaic apart, (columns, rows, slices), and say where they lie.

    Siemens gives the position that the middle of a slice as large as the mosaic would have, so
    the corner of the first tile lies half the difference of the two sizes further inside. Which
    way the slices follow each other only its private header says.

    Raises:
        ValueError: if the private header, or what is needed of it, is missing.
    """
    header = _private(one)
    count = int(_known(one, "NumberOfImagesInMosaic", header)[0])
    normal = np.array(_known(one, "SliceNormalVector", header), float)
    if not one.placed:
        raise _refused(one, "it does not say where it lies")
    if not one.between > 0:
        raise _refused(one, "the distance between its slices (0018,0088) is not given")
    along = float(normal @ one.normal)
    if abs(abs(along) - 1) > 1e-3:
        raise _refused(one, "the normal of its slices does not fit their direction")
    # a mosaic is square, its last tiles empty
    tiles = ceil(sqrt(count))
    size = np.array(one.shape[:2])
    if (size % tiles).any():
        raise _refused(one, f"{size.tolist()} pixels cannot be {tiles} x {tiles} tiles")
    columns, rows = size // tiles
    # tiles follow each other along a row of the mosaic, then row by row
    array = pixels(one.path).reshape(tiles, columns, tiles, rows)
    volume = array.transpose(1, 3, 2, 0).reshape(columns, rows, tiles * tiles)[..., :count]
    axes = one.orientation.reshape(2, 3)
    inside = one.spacing * (size - size // tiles) / 2
    direction = np.stack([*axes, np.sign(along) * one.normal], 1)
    affine = affine_of(
        np.array([*one.spacing, one.between]), direction, one.position + inside @ axes
    )
    return Stored(volume, affine)


def _private(one: Slice) -> dict[str, Any]:
    """Siemens' own header of the image, wherever its private block lies."""
    with warnings.catch_warnings():  # nibabel calls its readers experimental when imported
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader

    reader = opened(one.path, private=True)
    # a maker may reserve any block, and its name stands where the block is reserved
    for block in range(0x10, 0x100):
        text = words(reader, f"0029|{block:02x}10")
        if words(reader, f"0029|{block:04x}") == OWNER and text:
            try:
                # SimpleITK hands over bytes as base64
                raw = base64.b64decode(text, validate=True)
                return csareader.read(raw)
            except (*UNREADABLE, csareader.CSAError) as error:
                raise _refused(one, f"its private header is damaged: {error}") from None
    raise _refused(one, "its private header (0029,xx10) is missing")


def _known(one: Slice, name: str, header: dict[str, Any]) -> list[Any]:
    values = header["tags"].get(name, {}).get("items", [])
    if not any(values):
        raise _refused(one, f"its private header does not give its {name}")
    return values


def _refused(one: Slice, why: str) -> ValueError:
    return ValueError(
        f"{one.path} is a mosaic of Siemens', many slices in one picture, but {why}; convert the "
        "original files with dcm2niix"
    )
