"""The doctor names what is odd and what each choice would mean."""

from pathlib import Path

import numpy as np
import pytest
from test_bad_images import saved

from coincide.cli.main import main
from coincide.files.doctor import inspect, report
from coincide.files.write import write_image
from coincide.space.image import Image


def said(path):
    return report(inspect(path))


def test_a_good_file(tmp_path):
    saved(tmp_path / "a.nii.gz", np.diag([-2, 2, 3, 1.0]))
    text = said(tmp_path / "a.nii.gz")
    for part in ("nifti, gzip-compressed, int16", "6 x 7 x 8 voxels of 2 x 2 x 3 mm", "LAS, left"):
        assert part in text
    assert "oblique" not in text
    assert "sheared" not in text


def test_disagreement_in_mm(tmp_path):
    saved(tmp_path / "a.nii", sform_code=2, qform_code=1, qoffset_x=10.0)
    text = said(tmp_path / "a.nii")
    assert "differ by 10 mm" in text
    assert "the qform is used; say use='sform'" in text


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"sform_code": 0, "qform_code": 0}, "the spacing is used"),
        ({"srow_x": 0, "srow_y": 0, "srow_z": 0, "sform_code": 1, "qform_code": 1}, "inverted"),
        ({"xyzt_units": 0}, "unknown units"),
        ({"xyzt_units": 1}, "converted to mm"),
    ],
)
def test_headers(tmp_path, fields, part):
    saved(tmp_path / "a.nii", **fields)
    assert part in said(tmp_path / "a.nii")


def test_frames_values_and_shear(tmp_path):
    saved(tmp_path / "a.nii", shape=(4, 5, 6, 3))
    assert "3 frames" in said(tmp_path / "a.nii")
    array = np.zeros((5, 5, 5), np.float32)
    array[2, 2, 2] = np.nan
    affine = np.eye(4)
    affine[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0.3], [0, 0, 5]]
    write_image(Image.from_array(array, affine), tmp_path / "b.nii")
    text = said(tmp_path / "b.nii")
    for part in ("1 voxels are NaN", "oblique by", "sheared by", "same value", "times as thick"):
        assert part in text
    array = np.zeros((9, 9, 9), np.int64)
    array[3:6] = 4
    write_image(Image.from_array(array), tmp_path / "c.nii")
    assert "read_labels" in said(tmp_path / "c.nii")


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    (finding,) = inspect(tmp_path / "a.nii")
    assert "empty" in finding.effect
    assert finding.failed


def inspected(capsys, *paths):
    """Exit code and what is said on both streams."""
    code = 0
    try:
        main(["inspect", *map(str, paths)])
    except SystemExit as stopped:
        code = stopped.code
    found = capsys.readouterr()
    return code, found.out, found.err


def test_what_cannot_be_read_ends_with_1_and_the_others_are_looked_at(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    saved(tmp_path / "a.nii")
    good = tmp_path / "a.nii"
    assert inspected(capsys, good)[0] == 0
    for bad in (tmp_path / "empty", tmp_path / "none.nii"):
        code, said, error = inspected(capsys, bad, good)
        assert code == 1
        assert "6 x 7 x 8 voxels" in said
        assert "cannot be read" in said
        assert error == f"coincide: 1 of 2 cannot be read: {bad}\n"
    assert "no image given" in inspected(capsys)[2]


def test_a_folder_that_may_not_be_read_ends_with_1(tmp_path, capsys, monkeypatch):
    def locked(_self):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "iterdir", locked)
    code, said, _ = inspected(capsys, tmp_path)
    assert code == 1
    assert "Permission denied" in said


def test_an_image_without_numbers_ends_with_1(tmp_path, capsys):
    array = np.full((5, 5, 5), np.nan, np.float32)
    write_image(Image.from_array(array), tmp_path / "n.nii")
    code, said, _ = inspected(capsys, tmp_path / "n.nii")
    assert code == 1
    assert "every voxel is NaN" in said
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path / "n.nii"), str(tmp_path / "c.nii")])
    assert not (tmp_path / "c.nii").exists()
