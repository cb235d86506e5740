"""Folders of DICOM slices, made here with pydicom."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from coincide.files.dicom import read_series
from coincide.files.read import load

pydicom = pytest.importorskip("pydicom")

TURN, _ = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.1, 1, 0.3], [0.05, -0.2, 1]]))
TURN *= np.sign(np.diag(TURN))
SHAPE, SPACING, STEP = (6, 5), (0.9, 1.4), 2.5  # columns, rows


def write(folder, name, number, series="1.2.3", **changes):
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
    one.PixelData = pixels(number)[: one.Rows].tobytes()
    folder.mkdir(exist_ok=True)
    one.save_as(folder / name, enforce_file_format=True)


def pixels(number):
    """Rows x columns."""
    return (np.arange(30).reshape(5, 6) + 100 * number).astype(np.int16)


def series(folder, numbers=range(4)):
    # file names tell nothing about the order
    for count, number in enumerate(numbers):
        write(folder, f"{(7 * count) % 11:02d}.dcm", number)
    return folder


def test_sorted_rescaled_and_placed(tmp_path):
    found = load(series(tmp_path / "s", [2, 0, 3, 1]))
    image = found.image
    assert found.warnings == ()
    expected = np.stack([pixels(n).T for n in range(4)], -1) * 2.0 - 1000
    np.testing.assert_array_equal(image.numpy(), expected)
    for index in [(0, 0, 0), (5, 4, 3), (1, 3, 2)]:
        i, j, k = index
        place = [10, -20, 30] + TURN @ [SPACING[0] * i, SPACING[1] * j, STEP * k]
        np.testing.assert_allclose(
            image.grid.to_world(np.array(index)), place * [-1, -1, 1], atol=1e-4
        )


def test_simpleitk_agrees(tmp_path):
    folder = series(tmp_path / "s")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    theirs = sitk.ReadImage(names)
    image = load(folder).image
    np.testing.assert_allclose(sitk.GetArrayFromImage(theirs).T, image.numpy())
    place = np.array(theirs.TransformIndexToPhysicalPoint((5, 4, 3))) * [-1, -1, 1]
    np.testing.assert_allclose(image.grid.to_world(np.array([5, 4, 3])), place, atol=1e-3)


def test_gap(tmp_path):
    with pytest.raises(ValueError, match=r"usually 2\.5 mm, but .*5 mm.*missing slices"):
        load(series(tmp_path / "s", [0, 1, 2, 4, 5]))


def test_doubles(tmp_path):
    with pytest.raises(ValueError, match=r"same place.*\.dcm = .*\.dcm"):
        load(series(tmp_path / "s", [0, 1, 1, 2]))


def test_mixed_series(tmp_path):
    folder = series(tmp_path / "s")
    for number in range(3):
        write(folder, f"other{number}.dcm", number, series="1.2.9")
    with pytest.raises(ValueError, match=r"2 series: .*1\.2\.9 \(3 files, a test\).*--series UID"):
        load(folder)
    assert load(folder, series="1.2.9").image.grid.shape == (6, 5, 3)
    with pytest.raises(ValueError, match="no series 7"):
        read_series(folder, series="7")


def test_localiser(tmp_path):
    folder = series(tmp_path / "s")
    turned = [f"{v:.8f}" for v in TURN[:, [1, 2]].T.ravel()]
    write(folder, "scout.dcm", 9, ImageOrientationPatient=turned)
    with pytest.raises(ValueError, match="1 of 5 slices differ"):
        load(folder)


def test_other_size(tmp_path):
    folder = series(tmp_path / "s")
    write(folder, "small.dcm", 4, Rows=4)
    with pytest.raises(ValueError, match=r"differ in size.*small\.dcm"):
        load(folder)


def test_slices_without_position(tmp_path):
    folder = series(tmp_path / "s")
    write(folder, "lost.dcm", 4, ImagePositionPatient=None)
    with pytest.raises(ValueError, match=r"do not say where they lie \(lost\.dcm\)"):
        load(folder)


def test_gantry_tilt_is_kept(tmp_path):
    folder = tmp_path / "s"
    for number in range(4):
        place = np.array([0, 0, 0]) + number * (STEP * TURN[:, 2] + 0.6 * TURN[:, 1])
        write(folder, f"{number}.dcm", number, ImagePositionPatient=[f"{v:.6f}" for v in place])
    found = load(folder)
    assert any("gantry tilt" in note for note in found.warnings)
    step = found.image.grid.affine[:3, 2] * [-1, -1, 1]
    np.testing.assert_allclose(step, STEP * TURN[:, 2] + 0.6 * TURN[:, 1], atol=1e-5)


def test_many_frames_in_one_file(tmp_path):
    write(tmp_path / "s", "all.dcm", 0)
    path = tmp_path / "s" / "all.dcm"
    one = pydicom.dcmread(path)
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
    one.NumberOfFrames = 3
    one.PixelData = np.stack([pixels(n) for n in range(3)]).tobytes()
    one.save_as(path)
    found = load(path)
    assert found.image.grid.shape == (6, 5, 3)
    assert any("3 frames" in note for note in found.warnings)


def test_one_slice_and_no_slice(tmp_path):
    folder = series(tmp_path / "s", [0])
    found = load(next(folder.iterdir()))
    assert found.image.grid.shape == (6, 5, 1)
    assert any("one DICOM slice" in note for note in found.warnings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no DICOM files"):
        load(tmp_path / "empty")
