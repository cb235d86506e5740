"""Bad input through the command line: mended and noted, or refused in one clear sentence."""

import errno
import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from coincide.cli.main import main
from coincide.files.itk import read_transform, write_transform
from coincide.files.read import read_image
from coincide.synthetic.phantoms import textured
from coincide.transforms.linear import Affine

SPACING = 2.0


@pytest.fixture(scope="module")
def phantom():
    """A body of 24 voxels of 2 mm and its affine."""
    image = textured((24, 22, 20), spacing=SPACING).image
    return image.numpy(), image.grid.affine.copy()


class Bench:
    """A folder with a good fixed image, where a bad moving one is tried."""

    def __init__(self, folder, phantom, capsys):
        self.folder, self.capsys = folder, capsys
        self.array, self.affine = phantom
        self.out = folder / "out"
        self.fixed = self.save("fixed.nii.gz", self.array)
        self.moving = self.save("moving.nii.gz", np.roll(self.array, 1, 0))

    def save(self, name, array, affine=None, **fields):
        """A NIfTI file whose header fields are overwritten byte by byte."""
        image = nib.Nifti1Image(array, self.affine if affine is None else affine, dtype=array.dtype)
        image.header.set_xyzt_units("mm")
        image.set_qform(self.affine if affine is None else affine, 1)
        data = bytearray(image.to_bytes())
        header = nib.Nifti1Header(bytes(data[:348]), check=False)
        for key, value in fields.items():
            header[key] = value
        data[:348] = header.binaryblock
        path = self.folder / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    def run(self, *more, fixed=None, moving=None, start="header"):
        """Notes on stderr of a run that must succeed."""
        self.capsys.readouterr()
        pair = (fixed or self.fixed, moving or self.moving)
        main(
            [
                *(
                    "register",
                    *map(str, pair),
                    "--out",
                    str(self.out),
                    "--preset",
                    "affine",
                    "--force",
                ),
                *("--initial", start, "--report", "False", *map(str, more)),
            ]
        )
        assert {p.name for p in self.out.iterdir()} == {
            *("warped.nii.gz", "transform.h5", "inverse.h5", "settings.toml", "scores.json"),
            "result.json",
        }
        return " ".join(self.capsys.readouterr().err.split())

    def refused(self, *more, fixed=None, moving=None, start="header", preset="affine"):
        """The message of a run that must fail and leave nothing."""
        pair = (fixed or self.fixed, moving or self.moving)
        said = self.command(
            *("register", *pair, "--out", self.out, "--preset", preset, "--initial", start, *more)
        )
        assert not self.out.exists() or list(self.out.iterdir()) == []
        return said

    def command(self, *arguments):
        """The message of a command that must fail."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        said = " ".join(self.capsys.readouterr().err.split())
        assert stopped.value.code == 1, said
        assert said.startswith("coincide: ")
        assert "Traceback" not in said
        return said

    def warped(self):
        return read_image(self.out / "warped.nii.gz").numpy()


@pytest.fixture
def bench(tmp_path, phantom, capsys):
    return Bench(tmp_path, phantom, capsys)


def test_no_affine(bench):
    moving = bench.save("m.nii", bench.array, sform_code=0, qform_code=0)
    said = bench.run(moving=moving)
    assert "note: moving image: the header says neither where the image is" in said
    assert "left and right cannot be told apart" in said
    np.testing.assert_allclose(bench.warped(), bench.array, atol=0.01)


def test_a_singular_sform_is_as_good_as_none(bench):
    moving = bench.save("m.nii", bench.array, srow_x=0, srow_y=0, srow_z=0, sform_code=1)
    assert "sform has code 1 but cannot be inverted; treated as missing" in bench.run(moving=moving)
    np.testing.assert_allclose(bench.warped(), bench.array, atol=0.01)


@pytest.mark.parametrize("spacing", [0.0, np.nan])
def test_no_spacing_is_refused(bench, spacing):
    pixdim = [1, spacing, SPACING, SPACING, 1, 1, 1, 1]
    moving = bench.save("m.nii", bench.array, sform_code=0, qform_code=0, pixdim=pixdim)
    assert "set pixdim to the true spacing" in bench.refused(moving=moving)


def test_sform_and_qform_disagree(bench):
    moving = bench.save("m.nii", bench.array, sform_code=1, qform_code=1, qoffset_x=12.0)
    said = bench.run(moving=moving)
    assert "moving image: sform (code 1) and qform (code 1) disagree by" in said
    assert "mm at the far corner" in said


def test_metres_are_converted(bench):
    affine = np.diag([0.001, 0.001, 0.001, 1]) @ bench.affine
    pixdim = [1, *[SPACING / 1000] * 3, 1, 1, 1, 1]
    moving = bench.save("m.nii", bench.array, affine, xyzt_units=1, pixdim=pixdim)
    assert "lengths are stored in metres; converted to mm" in bench.run(moving=moving)
    np.testing.assert_allclose(bench.warped(), bench.array, atol=0.01)


def test_a_few_nan_are_masked_and_counted(bench):
    array = bench.array.copy()
    array[10:12, 10, 10] = np.nan
    array[5, 5, 5] = np.inf
    said = bench.run(moving=bench.save("m.nii", array))
    assert "moving image: 3 of 10560 voxels" in said
    assert np.isfinite(bench.warped()).all()


def test_all_nan_is_refused(bench):
    bad = bench.save("m.nii", np.full_like(bench.array, np.nan))
    for start in ("header", "search"):
        said = bench.refused(moving=bad, start=start)
        assert "nothing of the moving image counts: none of its voxels is a number" in said
    assert "nothing of the fixed image counts" in bench.refused(fixed=bad)


@pytest.mark.parametrize("value", [0, 7])
def test_constant_is_refused(bench, value):
    bad = bench.save("m.nii", np.full_like(bench.array, value))
    assert f"the moving image is constant ({value} everywhere)" in bench.refused(moving=bad)
    assert f"the fixed image is constant ({value} everywhere)" in bench.refused(fixed=bad)


def test_empty_mask_is_refused(bench):
    mask = bench.save("none.nii", np.zeros(bench.array.shape, np.uint8))
    for which in ("fixed", "moving"):
        said = bench.refused(f"--{which}-mask", mask)
        assert "none.nii is empty; give a mask with voxels above 0, or none" in said


def test_a_mask_on_another_grid_is_resampled(bench):
    affine = bench.affine @ np.diag([2, 2, 2, 1.0])
    mask = bench.save("coarse.nii", np.ones((12, 11, 10), np.uint8), affine)
    said = bench.run("--fixed-mask", mask)
    assert "coarse.nii lies on another grid; it was resampled by world position" in said


def test_a_mask_of_the_whole_image_changes_nothing(bench):
    bench.run()
    before = bench.warped()
    bench.run("--fixed-mask", bench.save("all.nii", np.ones(bench.array.shape, np.uint8)))
    np.testing.assert_array_equal(bench.warped(), before)


def test_a_mask_elsewhere_is_refused(bench):
    affine = bench.affine.copy()
    affine[:3, 3] += 500
    mask = bench.save("far.nii", np.ones(bench.array.shape, np.uint8), affine)
    assert "far.nii does not overlap its image" in bench.refused("--moving-mask", mask)


def test_a_series_needs_a_frame(bench):
    series = bench.save("m.nii", np.stack([bench.array, 0 * bench.array], -1))
    assert "--moving-frame N" in bench.refused(moving=series)
    said = bench.refused("--fixed-frame", 5, "--moving-frame", 0, fixed=series, moving=series)
    assert "has frames 0 to 1; frame 5 is not there" in said
    bench.run("--moving-frame", 0, moving=series)
    np.testing.assert_allclose(bench.warped(), bench.array, atol=0.01)


def test_a_singleton_axis(bench):
    """Two single slices of a volume, as a 3-D file holds them."""
    fixed = bench.save("f.nii", bench.array[:, :, 10:11])
    moving = bench.save("m.nii", np.roll(bench.array[:, :, 10:11], 1, 0))
    bench.run("--ways", "displacement", fixed=fixed, moving=moving)
    gap = np.roll(bench.array[:, :, 10], 1, 0) - bench.array[:, :, 10]
    before = np.abs(gap[2:-2, 2:-2]).mean()
    assert np.abs(bench.warped()[:, :, 0] - bench.array[:, :, 10])[2:-2, 2:-2].mean() < before


@pytest.mark.parametrize("start", ["header", pytest.param("search", marks=pytest.mark.slow)])
def test_a_tiny_volume(bench, start):
    tiny = textured((8, 8, 8), spacing=4).image
    fixed = bench.save("f.nii", tiny.numpy(), tiny.grid.affine)
    bench.run("--ways", "displacement", fixed=fixed, moving=fixed, start=start)
    assert np.isfinite(bench.warped()).all()
    assert np.corrcoef(bench.warped().ravel(), tiny.numpy().ravel())[0, 1] > 0.9


def distant(bench):
    """The fixed image, 1000 mm away along every axis."""
    affine = bench.affine.copy()
    affine[:3, 3] += 1000
    return bench.save("far.nii", bench.array, affine)


@pytest.mark.parametrize("preset", ["auto", "abdomen", "affine"])
def test_no_overlap_by_the_header_is_refused(bench, preset):
    assert "do not overlap" in bench.refused(moving=distant(bench), preset=preset)


@pytest.mark.slow
def test_no_overlap_is_found_by_the_search(bench):
    bench.run(moving=distant(bench), start="search")
    centre = read_transform(bench.out / "transform.h5").numpy() @ [0, 0, 0, 1]
    np.testing.assert_allclose(centre[:3], 1000, atol=3)
    assert np.corrcoef(bench.warped().ravel(), bench.array.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_cut_off_download(bench, which):
    path = getattr(bench, which)
    path.write_bytes(path.read_bytes()[:2000])
    said = bench.refused(**{which: path})
    assert f"{path.name} is cut off or damaged" in said
    assert "copy or download it again" in said


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<html>404 Not Found</html>", "is not an image in a known format"),
    ],
)
def test_not_an_image(bench, content, part):
    path = bench.folder / "a.nii.gz"
    path.write_bytes(content)
    assert part in bench.refused(moving=path)


def test_no_such_file_names_its_neighbour(bench):
    said = bench.refused(moving=bench.folder / "moving.nii")
    assert "there is no file" in said
    assert "moving.nii.gz" in said


def test_a_wrong_extension_is_read_as_what_it_is(bench):
    wrong = bench.folder / "packed.nii"
    wrong.write_bytes(bench.fixed.read_bytes())
    said = bench.run(moving=wrong)
    assert "packed.nii is gzip-compressed although its name says otherwise" in said
    np.testing.assert_allclose(bench.warped(), bench.array, atol=0.01)


def still(bench):
    """The identity in a file."""
    write_transform(Affine(np.eye(4)), bench.folder / "still.h5")
    return bench.folder / "still.h5"


def warp(bench, name, out, *more):
    arguments = (bench.folder / name, still(bench), "--on", bench.fixed, "--out", out, *more)
    main(["warp", *map(str, arguments)])
    return nib.load(out)


@pytest.mark.parametrize("way", ["label", "nearest"])
def test_sparse_and_large_labels(bench, way):
    ids = np.array([0, 3, 1042, 2**24 + 1, 2**31 - 7], np.int64)
    labels = ids[np.arange(bench.array.size).reshape(bench.array.shape) // 997 % 5]
    bench.save("l.nii.gz", labels)
    found = warp(bench, "l.nii.gz", bench.folder / "w.nii.gz", "--interpolation", way)
    np.testing.assert_array_equal(np.asarray(found.dataobj).astype(np.int64), labels)


def test_fractions_are_not_labels(bench):
    said = bench.command(
        *("warp", bench.moving, still(bench), "--on", bench.fixed),
        *("--out", bench.folder / "w.nii.gz", "--interpolation", "label"),
    )
    assert "labels must be whole numbers" in said
    assert not (bench.folder / "w.nii.gz").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_whole_numbers_do_not_wrap(bench, dtype):
    """Cubic interpolation overshoots at a step between the least and the greatest value."""
    limit = np.iinfo(dtype)
    array = np.full(bench.array.shape, limit.min, dtype)
    array[8:] = limit.max
    bench.save("i.nii.gz", array)
    half = np.eye(4)
    half[0, 3] = 0.5 * SPACING
    path = bench.folder / "half.h5"
    write_transform(Affine(half), path)
    out = bench.folder / "w.nii.gz"
    arguments = (bench.folder / "i.nii.gz", path, "--on", bench.fixed, "--out", out)
    main(["warp", *map(str, arguments), "--interpolation", "cubic"])
    found = np.asarray(nib.load(out).dataobj)
    assert found.dtype == dtype
    inner = found[2:-3, 4:-4, 4:-4].astype(np.int64)
    middle = (int(limit.min) + int(limit.max)) / 2
    assert (inner[:5] < middle).all()
    assert (inner[6:] > middle).all()
    assert inner.min() == limit.min
    assert inner.max() == limit.max


def test_dicom_with_a_gap(bench):
    pydicom = pytest.importorskip("pydicom")
    folder = bench.folder / "series"
    folder.mkdir()
    for number in (0, 1, 2, 3, 6, 7):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.Dataset()
        one.file_meta = meta
        one.SOPClassUID = meta.MediaStorageSOPClassUID
        one.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        one.Modality, one.SeriesInstanceUID, one.StudyInstanceUID = "CT", "1.2.3", "1.2"
        one.Columns = one.Rows = 16
        one.PixelSpacing = ["2", "2"]
        one.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        one.ImagePositionPatient = ["0", "0", f"{2 * number}"]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.PixelData = np.full((16, 16), number, np.int16).tobytes()
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    said = bench.refused(moving=folder)
    assert "the slices are not evenly spaced: usually 2 mm, but 3.dcm to 6.dcm: 6 mm" in said
    assert "add the missing slices" in said


def test_dimensions_must_agree(bench):
    flat = bench.save("flat.nii", bench.array[:, :, 10], bench.affine)
    said = bench.refused(moving=flat)
    assert "the fixed image has 3 axes and the moving image 2" in said


def test_an_out_folder_that_cannot_be_made(bench):
    said = bench.command(
        *("register", bench.fixed, bench.moving, "--out", "/proc/none/out"),
        *("--preset", "affine", "--initial", "header"),
    )
    assert "cannot make the folder /proc/none/out" in said
    assert "choose another with --out" in said


def test_an_out_folder_that_is_a_file(bench):
    (bench.folder / "taken").write_text("mine")
    said = bench.command(
        *("register", bench.fixed, bench.moving, "--out", bench.folder / "taken"),
        *("--preset", "affine", "--initial", "header"),
    )
    assert "choose another with --out" in said
    assert (bench.folder / "taken").read_text() == "mine"


def full(*_arguments, **_named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", [(os, "fsync"), (Path, "write_bytes"), (Path, "write_text")])
def test_full_disk(bench, monkeypatch, where):
    monkeypatch.setattr(*where, full)
    said = bench.command(
        *("register", bench.fixed, bench.moving, "--out", bench.out),
        *("--preset", "affine", "--initial", "header", "--report", "False"),
    )
    assert "cannot write" in said
    assert "the disk is full; free some space or choose another folder" in said
    left = {p.name for p in bench.out.iterdir()}
    assert left <= {"warped.nii.gz", "transform.h5", "inverse.h5", "settings.toml", "scores.json"}
    assert len(left) < 5
    monkeypatch.undo()
    for name in left:  # what is there is whole
        path = bench.out / name
        if name.endswith(".h5"):
            read_transform(path)
        elif name.endswith(".gz"):
            read_image(path)


def test_full_disk_keeps_the_earlier_result(bench, monkeypatch):
    bench.run()
    before = {p.name: p.read_bytes() for p in bench.out.iterdir()}
    monkeypatch.setattr(os, "fsync", full)
    bench.command(
        *("register", bench.moving, bench.fixed, "--out", bench.out, "--force"),
        *("--preset", "affine", "--initial", "header", "--report", "False"),
    )
    assert {p.name: p.read_bytes() for p in bench.out.iterdir()} == before
