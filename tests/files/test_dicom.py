"""Folders of DICOM slices, made here with pydicom."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import SPACING, STEP, TURN, plane, write

from coincide.cli.main import main
from coincide.files.accept import as_image
from coincide.files.dicom import read_series
from coincide.files.read import load, stored
from coincide.files.write import write_image

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


def test_one_file_stands_for_its_series(tmp_path):
    folder = series(tmp_path / "s")
    write(folder, "other.dcm", 9, series="1.2.9")
    (folder / "notes.txt").write_text("not DICOM")
    path = sorted(folder.glob("0*.dcm"))[1]
    found = load(path)
    expected = load(folder, series="1.2.3").image
    np.testing.assert_array_equal(found.image.numpy(), expected.numpy())
    assert found.image.grid == expected.grid
    (note,) = found.warnings
    assert "one of 4 slices of a series (a test); the whole series in" in note
    with pytest.raises(ValueError, match=r"is of the series 1\.2\.3, not 1\.2\.9"):
        load(path, series="1.2.9")


def test_a_file_with_gaps_in_its_series_is_refused_like_the_folder(tmp_path):
    folder = series(tmp_path / "s", [0, 1, 2, 4, 5])
    with pytest.raises(ValueError, match="missing slices"):
        load(next(folder.iterdir()))


@pytest.fixture
def study(tmp_path):
    """STUDY/SERIES folders, a report and a DICOMDIR among them."""
    place = tmp_path / "study"
    for name, uid, numbers in (("t1", "1.2.3", range(4)), ("t2", "1.2.9", range(3))):
        for number in numbers:
            (place / "day 1" / name).mkdir(parents=True, exist_ok=True)
            write(place / "day 1" / name, f"{number}.dcm", number, uid, SeriesDescription=name)
    (place / "day 1" / "report.dcm").write_bytes(bytes(128) + b"DICM" + b"a report")
    (place / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    return place


def test_the_only_series_of_nested_folders_is_read(study):
    for path in (study / "day 1" / "t2").iterdir():
        path.unlink()
    found = load(study)
    assert found.image.grid.shape == (6, 5, 4)
    assert any("1 DICOM files hold no image (day 1/report.dcm)" in note for note in found.warnings)


def test_several_series_of_nested_folders_are_listed(study, tmp_path):
    listed = r"2 series: 1\.2\.3 \(4 files, t1, in day 1/t1\); 1\.2\.9 \(3 files, t2, in day 1/t2\)"
    with pytest.raises(ValueError, match=listed + ".*--series UID"):
        load(study)
    assert load(study, series="1.2.9").image.grid.shape == (6, 5, 3)
    assert as_image(study, series="1.2.9").image.grid.shape == (6, 5, 3)
    with pytest.raises(ValueError, match=r"no series 7; it holds 1\.2\.3"):
        load(study, series="7")
    write_image(load(study, series="1.2.3").image, tmp_path / "a.nii")
    with pytest.raises(ValueError, match="has no DICOM series"):
        load(tmp_path / "a.nii", series="7")


def test_commands_take_a_series(study, tmp_path, capsys):
    for command, more in (("convert", ()), ("warp", ("--spacing", "2", "--out"))):
        out = str(tmp_path / f"{command}.nii")
        with pytest.raises(SystemExit):
            main([command, str(study), *more, out])
        assert "--series UID" in capsys.readouterr().err
        main([command, str(study), *more, out, "--series", "1.2.9"])
        assert load(out).image.numpy().any()
    main(["inspect", str(study)])
    said = capsys.readouterr().out
    assert "2 DICOM series" in said
    assert "series 1.2.9 (3 files, t2, in day 1/t2)" in said
    main(["inspect", str(study), "--series", "1.2.9"])
    assert "6 x 5 x 3 voxels" in capsys.readouterr().out


def test_a_folder_without_images_says_so(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"a report")
    with pytest.raises(ValueError, match="cannot be read as a DICOM image"):
        load(tmp_path)


def test_every_volume_is_kept_where_all_are_wanted(tmp_path):
    folder = tmp_path / "s"
    for echo in range(2):
        for number in range(3):
            values = plane(number) + 1000 * echo
            write(folder, f"{echo}{number}.dcm", number, EchoTime=str(10 + echo), pixels=values)
    found = stored(folder, keep="all")
    assert (found.array.shape, found.channels) == ((6, 5, 3, 2), "frames")
    for frame in range(2):
        one = load(folder, frame=frame).image
        np.testing.assert_array_equal(found.array[..., frame], one.numpy())
    path = folder / "11.dcm"
    assert any("the one with 11.dcm is read, 1" in note for note in load(path).warnings)
    np.testing.assert_array_equal(load(path).image.numpy(), load(folder, frame=1).image.numpy())
