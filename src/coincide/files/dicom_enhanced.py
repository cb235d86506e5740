"""Enhanced DICOM: one file with many frames, each with a place and a kind of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from coincide.files.dicom_slice import Slice

PREFIX = "1.2.840.10008.5.1.4.1.1."
KINDS = {
    "2.1": "CT",
    "2.2": "converted CT",
    "4.1": "MR",
    "4.4": "converted MR",
    "128.1": "converted PET",
    "130": "PET",
}
REFUSED = {
    "4.3": ("colour MR", "convert it with dcm2niix"),
    "66.4": ("segmentation", "convert it with segimage2itkimage of dcmqi"),
    "30": ("parametric map", "convert it with paramap2itkimage of dcmqi"),
    "13.1.1": ("3-D X-ray", "convert it with dcm2niix"),
    "13.1.3": ("breast tomosynthesis", "convert it with dcm2niix"),
}
# name, functional group, element
MARKS = (
    ("temporal position", "FrameContentSequence", "TemporalPositionIndex"),
    ("echo time", "MREchoSequence", "EffectiveEchoTime"),
    ("b-value", "MRDiffusionSequence", "DiffusionBValue"),
    ("direction of diffusion", "MRDiffusionSequence", "DiffusionGradientDirectionSequence"),
    ("acquisition number", "FrameContentSequence", "FrameAcquisitionNumber"),
    ("image type", "MRImageFrameTypeSequence", "FrameType"),
    ("image type", "CTImageFrameTypeSequence", "FrameType"),
    ("trigger time", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("acquisition time", "FrameContentSequence", "FrameAcquisitionDateTime"),
    ("reference time", "FrameContentSequence", "FrameReferenceDateTime"),
    ("stack", "FrameContentSequence", "StackID"),
)


def is_enhanced(one: Slice) -> bool:
    """Whether a file keeps the places of its frames apart, where GDCM does not look.

    Raises:
        ValueError: if it is of such a kind that cannot be read, naming it.
    """
    kind = one.kind.removeprefix(PREFIX)
    if kind in REFUSED:
        name, instead = REFUSED[kind]
        raise ValueError(f"{one.path} is a DICOM {name} of many frames; {instead}")
    return kind in KINDS


def frames_of(one: Slice) -> list[Slice]:
    """Every frame of an enhanced file, in its order.

    Raises:
        ValueError: if the places of its frames are missing.
        ModuleNotFoundError: if pydicom is not installed.
    """
    data = _pydicom(one.path).dcmread(one.path, stop_before_pixels=True)
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    count = int(data.get("NumberOfFrames") or 1)
    if len(each) != count:
        raise ValueError(
            f"{one.path} is enhanced DICOM of {count} frames, but says of {len(each)} where they "
            "lie; convert the original file with dcm2niix"
        )
    if data.get("SamplesPerPixel") != 1:
        raise ValueError(f"{one.path} is enhanced DICOM in colour; convert it with dcm2niix")
    return [_frame(one, data, (group, shared), number) for number, group in enumerate(each)]


def frame_pixels(path: Path) -> np.ndarray:
    """Stored values of every frame, (frames, rows, columns).

    Raises:
        ValueError: if they are compressed in a way that cannot be undone here.
    """
    data = _pydicom(path).dcmread(path)
    try:
        array = data.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError, ImportError) as error:
        raise ValueError(
            f"the frames of {path} cannot be decoded ({error}); decompress it with "
            "`gdcmconv --raw`, or install pylibjpeg"
        ) from None
    # one frame alone comes without an axis of frames
    return array if array.ndim == 3 else array[None]


def _frame(one: Slice, data: Any, groups: tuple[Any, Any], number: int) -> Slice:
    def value(sequence: str, element: str) -> Any:
        # what a frame says of itself goes before what is said of all
        for group in groups:
            items = group.get(sequence) if group is not None else None
            found = items[0].get(element) if items else None
            if found is not None and found != "":
                return found
        return None

    def numbers(sequence: str, element: str, count: int) -> np.ndarray:
        found = value(sequence, element)
        return np.array([np.nan] * count if found is None else found, np.float64).reshape(count)

    marks: dict[str, str] = {}
    for name, sequence, element in MARKS:
        found = value(sequence, element)
        if found is not None and not marks.get(name):
            marks[name] = _words(found)
    inside = one.marks.get("instance number", "")
    slope = numbers("PixelValueTransformationSequence", "RescaleSlope", 1)[0]
    intercept = numbers("PixelValueTransformationSequence", "RescaleIntercept", 1)[0]
    return Slice(
        one.path,
        one.series,
        one.description,
        (int(data.Columns), int(data.Rows), 1),
        numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        # between rows first in the file, between columns first here
        numbers("PixelMeasuresSequence", "PixelSpacing", 2)[::-1],
        between=float(numbers("PixelMeasuresSequence", "SpacingBetweenSlices", 1)[0]),
        thickness=float(numbers("PixelMeasuresSequence", "SliceThickness", 1)[0]),
        instance=f"{one.instance} {number}",
        kind=one.kind,
        number=number,
        scale=(1.0 if np.isnan(slope) else slope, 0.0 if np.isnan(intercept) else intercept),
        marks=marks | {"instance number": str(number), "file": inside},
    )


def _words(value: Any) -> str:
    """A value as text; of a sequence, the direction it holds."""
    if hasattr(value, "__len__") and len(value) and hasattr(value[0], "get"):
        value = value[0].get("DiffusionGradientOrientation")
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return str(value)
    return "\\".join(str(part) for part in value)


def _pydicom(path: Path) -> Any:
    try:
        import pydicom
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} is enhanced DICOM, many frames in one file; to read it install pydicom "
            "(pip install pydicom), or convert it with dcm2niix"
        ) from None
    return pydicom
