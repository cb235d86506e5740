"""Geometry: which of the affines in a NIfTI header to believe."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from nibabel.quaternions import fillpositive, quat2mat

from coincide.files.lps import apart, shear

Use = Literal["auto", "sform", "qform"]
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
NAMES = {0: "unknown units", 1: "metres", 2: "mm", 3: "micrometres"}
SCANNER = 1


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a NIfTI header says about where the voxels are, in mm.

    Args:
        shape: Voxels along i, j, k.
        spacing: (3,) pixdim, mm, as stored: perhaps zero, negative or NaN.
        sform: (4, 4) or None where it has code 0, is not finite or cannot be inverted.
        qform: Likewise.
        codes: sform and qform code.
        unit: xyzt_units of space: 0 unknown, 1 m, 2 mm, 3 micrometres.
        broken: Sentences about forms that had a code but could not be used.
    """

    shape: tuple[int, ...]
    spacing: np.ndarray
    sform: np.ndarray | None
    qform: np.ndarray | None
    codes: tuple[int, int]
    unit: int
    broken: tuple[str, ...] = ()

    @property
    def apart(self) -> float:
        """Largest distance, mm, between what sform and qform say about a corner; 0 if one lacks."""
        if self.sform is None or self.qform is None:
            return 0.0
        return apart(self.sform, self.qform, self.shape)

    @property
    def noticeable(self) -> bool:
        """Whether sform and qform differ by more than rounding: a twentieth of a voxel."""
        return self.apart > 0.05 * float(np.abs(self.spacing).min())

    @property
    def plain(self) -> np.ndarray | None:
        """Affine from the spacing alone, centred on the origin; None if the spacing is unusable."""
        spacing = np.where(np.array(self.shape) > 1, self.spacing, 1.0)
        if not np.isfinite(spacing).all() or (spacing == 0).any():
            return None
        affine = np.diag([*np.abs(spacing), 1.0])
        # about the origin, so that two such images at least begin on top of each other
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return affine

    @property
    def rule(self) -> Literal["sform", "qform", "spacing"]:
        """What ITK would believe: a sheared sform, or one of another space, yields to a qform."""
        if self.sform is None:
            return "spacing" if self.qform is None else "qform"
        if self.qform is None:
            return "sform"
        upright = shear(self.sform) < 0.1
        same = self.apart < 1e-2 * float(np.abs(self.spacing).min() or 1)
        return "sform" if upright and (self.codes[0] == SCANNER or same) else "qform"


def geometry(header) -> Geometry:
    """The geometry of a nibabel NIfTI header, converted to mm."""
    shape = (*(int(n) for n in header.get_data_shape()[:3]), 1, 1, 1)[:3]
    # the three lowest bits are the unit of space, those above that of time
    unit = int(header["xyzt_units"]) & 7
    scale = UNITS.get(unit, 1.0)
    pixdim = np.array(header["pixdim"][1:4], np.float64)
    codes = int(header["sform_code"]), int(header["qform_code"])
    rows = [np.array(header[f"srow_{axis}"], np.float64) for axis in "xyz"]
    forms = {"sform": np.vstack([*rows, [0, 0, 0, 1]]), "qform": _quaternion(header, pixdim, shape)}
    broken = []
    for (name, affine), code in zip(list(forms.items()), codes, strict=True):
        if code <= 0:
            forms[name] = None
        elif affine is None or not _usable(affine):
            broken.append(f"the {name} has code {code} but cannot be inverted; treated as missing")
            forms[name] = None
        else:
            # both forms are stored in the unit of the header, as the spacing is
            forms[name] = np.diag([scale, scale, scale, 1.0]) @ affine
    return Geometry(
        shape, pixdim * scale, forms["sform"], forms["qform"], codes, unit, tuple(broken)
    )


def choose(found: Geometry, use: Use = "auto") -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine to use, (4, 4) mm, and what was odd about the header.

    Args:
        found: Geometry of the header.
        use: `sform` or `qform` to overrule ITK's rule.

    Raises:
        ValueError: if the wanted form is missing, or no spacing is usable.
    """
    notes = list(found.broken)
    if use not in ("auto", "sform", "qform"):
        raise ValueError(f"no geometry is called {use!r}; known: auto, sform, qform")
    rule = found.rule if use == "auto" else use
    if rule == "spacing":
        affine = found.plain
        if affine is None:
            raise ValueError(
                f"the voxel spacing is {found.spacing.tolist()} mm and no sform or qform says more;"
                " set pixdim to the true spacing (for instance with `nibabel` or `fslcpgeom`)"
            )
        notes.append(
            "the header says neither where the image is nor which way it faces (sform and qform "
            f"code 0); only its spacing {np.diag(affine)[:3].round(4).tolist()} mm is used, so "
            "left and right cannot be told apart"
        )
    else:
        affine = found.sform if rule == "sform" else found.qform
        if affine is None:
            other = "qform" if use == "sform" else "sform"
            raise ValueError(f"there is no usable {use} in this header; use {other} or auto")
    if found.noticeable:
        notes.append(
            f"sform (code {found.codes[0]}) and qform (code {found.codes[1]}) disagree by "
            f"{found.apart:.3g} mm at the far corner; the {rule} is used, "
            f"say use={'qform' if rule == 'sform' else 'sform'!r} for the other"
        )
    if found.unit in (1, 3):
        notes.append(f"lengths are stored in {NAMES[found.unit]}; converted to mm")
    elif found.unit > 3:
        notes.append(f"the unit of length has the unknown code {found.unit}; taken as mm")
    return affine, (*notes, *implausible(affine, found.shape))


def implausible(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[str, ...]:
    """A warning if voxels are smaller than a micrometre or larger than 50 mm.

    Raises:
        ValueError: if an axis has no length at all, or one that is not a number.
    """
    dim = len(affine) - 1
    spacing = np.linalg.norm(affine[:-1, :-1], axis=0)
    if not np.isfinite(affine).all() or (spacing == 0).any():
        raise ValueError(
            f"the voxel spacing is {spacing.tolist()} mm; set the true spacing in the header"
        )
    seen = spacing[np.array(shape[:dim]) > 1]
    if ((seen < 1e-3) | (seen > 50)).any():
        return (
            f"the voxel spacing {spacing.round(6).tolist()} mm is implausible; "
            "check whether the header is in other units",
        )
    return ()


def _usable(affine: np.ndarray) -> bool:
    linear = affine[:3, :3]
    if not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(linear, axis=0)
    # of unit axes, so that the limit does not depend on the size of voxels
    return bool((lengths > 0).all() and abs(np.linalg.det(linear / lengths)) > 1e-6)


def _quaternion(header, pixdim: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    vector = np.array([header["quatern_b"], header["quatern_c"], header["quatern_d"]], np.float64)
    if not np.isfinite(vector).all() or vector @ vector > 1 + 1e-4:
        return None
    # rounding in the file may leave slightly more than one, whose rest has no real root
    vector = vector / max(1.0, float(np.linalg.norm(vector)))
    # pixdim[0] is qfac: it says which way the third axis goes, as a rotation cannot mirror
    handed = -1.0 if header["pixdim"][0] < 0 else 1.0
    # an axis of one voxel is often given no length; any will do
    lengths = np.where((np.array(shape) == 1) & (pixdim == 0), 1.0, pixdim)
    affine = np.eye(4)
    affine[:3, :3] = quat2mat(fillpositive(vector)) * lengths * [1, 1, handed]
    affine[:3, 3] = [header["qoffset_x"], header["qoffset_y"], header["qoffset_z"]]
    return affine
