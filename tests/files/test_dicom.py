"""Folders of DICOM slices, made here with pydicom."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import SPACING, STEP, TURN, plane, write

from coincide.files.dicom import read_series
from coincide.files.read import load

pydicom = pytest.importorskip("pydicom")


def series(folder, numbers=range(4)):
    # file names tell nothing about the order
    for count, number in enumerate(numbers):
        write(folder, f"{(7 * count) % 11:02d}.dcm", number)
    return folder


def test_sorted_rescaled_and_placed(tmp_path):
    found = load(series(tmp_path / "s", [2, 0, 3, 1]))
    image = found.image
    assert found.warnings == ()
    expected = np.stack([plane(n).T for n in range(4)], -1) * 2.0 - 1000
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
    one.PixelData = np.stack([plane(n) for n in range(3)]).tobytes()
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
