"""DICOM files for the tests, made with pydicom."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

TURN, _ = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.1, 1, 0.3], [0.05, -0.2, 1]]))
TURN *= np.sign(np.diag(TURN))
SHAPE, SPACING, STEP = (6, 5), (0.9, 1.4), 2.5  # columns, rows
PLACES = 3


def write(folder, name, number, series="1.2.3", pixels=None, **changes):
    """One slice `number` steps along the normal."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one = pydicom.dataset.Dataset()
    one.file_meta = meta
    one.SOPClassUID, one.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    one.Modality, one.SeriesInstanceUID, one.StudyInstanceUID = "CT", series, "1.2"
    one.SeriesDescription, one.PatientID = "a test", "none"
    one.Columns, one.Rows = SHAPE
    one.PixelSpacing = [f"{SPACING[1]:g}", f"{SPACING[0]:g}"]
    one.ImageOrientationPatient = [f"{v:.8f}" for v in TURN[:, :2].T.ravel()]
    place = np.array([10, -20, 30]) + STEP * number * TURN[:, 2]
    one.ImagePositionPatient = [f"{v:.6f}" for v in place]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    one.RescaleSlope, one.RescaleIntercept = "2", "-1000"
    for key, value in changes.items():
        setattr(one, key, value)
    values = plane(number) if pixels is None else pixels
    one.PixelData = values[: one.Rows].astype(np.int16).tobytes()
    folder.mkdir(exist_ok=True)
    one.save_as(folder / name, enforce_file_format=True)


def plane(number):
    """Rows x columns."""
    return (np.arange(30).reshape(5, 6) + 100 * number).astype(np.int16)


def enhanced(path, volumes=1, *, mark=None, order=None, slope=None, kind="4.1", **changes):
    """An enhanced MR file whose frames stand in an order of their own."""
    folder = path.parent
    write(folder, path.name, 0)
    data = pydicom.dcmread(path)
    sop = f"1.2.840.10008.5.1.4.1.1.{kind}"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop
    data.Modality = "MR"
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, name)
    Dataset, Sequence = pydicom.Dataset, pydicom.Sequence
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{v:.8f}" for v in TURN[:, :2].T.ravel()]
    measures.PixelSpacing = [f"{SPACING[1]:g}", f"{SPACING[0]:g}"]
    measures.SliceThickness = "2.5"
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    dimensions = [Dataset(), Dataset()]
    dimensions[0].DimensionIndexPointer = (0x0020, 0x9128)  # temporal position index
    dimensions[1].DimensionIndexPointer = (0x0020, 0x9057)  # in-stack position number
    data.DimensionIndexSequence = Sequence(dimensions)
    every = [(v, p) for v in range(volumes) for p in range(PLACES)]
    order = range(len(every)) if order is None else order
    groups, pixels = [], []
    for number in order:
        volume, place = every[number]
        group, position, content = Dataset(), Dataset(), Dataset()
        at = np.array([10, -20, 30]) + STEP * place * TURN[:, 2]
        position.ImagePositionPatient = [f"{v:.6f}" for v in at]
        content.StackID = "1"
        content.InStackPositionNumber = place + 1
        content.DimensionIndexValues = [volume + 1, place + 1]
        if mark is not None:
            mark(group, content, volume, place)
        group.PlanePositionSequence = Sequence([position])
        group.FrameContentSequence = Sequence([content])
        if slope is not None:
            scale = Dataset()
            scale.RescaleSlope, scale.RescaleIntercept = str(slope(place)), "-7"
            group.PixelValueTransformationSequence = Sequence([scale])
        groups.append(group)
        pixels.append(plane(place) + 1000 * volume)
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    data.NumberOfFrames = len(groups)
    data.PixelData = np.stack(pixels).astype(np.int16).tobytes()
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path)
    return path
