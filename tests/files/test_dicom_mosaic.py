"""Mosaics of Siemens': nibabel is the oracle, on the mosaic that comes with it."""

import gzip
import shutil
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

from coincide.files.doctor import inspect
from coincide.files.read import load

pydicom = pytest.importorskip("pydicom")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nibabel.nicom.dicomwrappers import wrapper_from_file

PACKED = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_1000.dcm.gz"
TO_RAS = np.diag([-1, -1, 1, 1])


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    if not PACKED.exists():
        pytest.skip("nibabel was installed without its test data")
    path = tmp_path_factory.mktemp("mosaic") / "one.dcm"
    path.write_bytes(gzip.decompress(PACKED.read_bytes()))
    return path


def same(found, path):
    """The voxels and places that nibabel gives; its first axis counts rows, ours columns."""
    theirs = wrapper_from_file(str(path))
    data, affine = np.asarray(theirs.get_data()), TO_RAS @ theirs.affine
    np.testing.assert_array_equal(found.image.numpy(), data.transpose(1, 0, 2))
    swapped = affine[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(found.image.grid.affine, swapped, atol=1e-4)


def changed(source, target, **changes):
    """A copy with other elements; None removes one."""
    data = pydicom.dcmread(source)
    for name, value in changes.items():
        if name == "private":
            for tag, content in value.items():
                del data[tag]
                if content is not None:
                    data.add_new(tag, "OB", content)
        elif value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(target)
    return target


def test_a_mosaic_is_taken_apart(mosaic):
    found = load(mosaic)
    assert found.image.grid.shape == (128, 128, 48)
    assert found.warnings == ()
    same(found, mosaic)
    assert "128 x 128 x 48" in " ".join(map(str, inspect(mosaic)))


def test_a_dicom_file_is_known_whatever_stands_before_its_first_tag(mosaic, tmp_path):
    assert mosaic.read_bytes()[:4] == b"\x5c\x01\0\0"  # as an Analyze header begins
    for start in (b"II*\0", b"\0\0\0\x01", b"\0" * 128):
        path = tmp_path / "one.dcm"
        path.write_bytes(start.ljust(128, b"\0") + mosaic.read_bytes()[128:])
        assert load(path).image.grid.shape == (128, 128, 48)


def test_a_folder_with_one_mosaic_is_one_volume(mosaic, tmp_path):
    shutil.copy(mosaic, tmp_path)
    same(load(tmp_path), mosaic)


def csa(path):
    return bytes(pydicom.dcmread(path)[0x0029, 0x1010].value)


def with_entry(raw, name, old, new):
    """Siemens' private header with the text of one value replaced, keeping its length."""
    start = raw.index(name)
    place = raw.index(old, start)
    assert len(old) == len(new)
    return raw[:place] + new + raw[place + len(old) :]


def test_slices_may_follow_each_other_the_other_way(mosaic, tmp_path):
    raw = csa(mosaic)
    for number, other in ((b"0.00523632", b"-0.0052363"), (b"0.99998629", b"-0.9999863")):
        raw = with_entry(raw, b"SliceNormalVector", number, other)
    assert raw != csa(mosaic)
    path = changed(mosaic, tmp_path / "other.dcm", private={(0x0029, 0x1010): raw})
    there, here = load(mosaic).image.grid.affine, load(path).image.grid.affine
    np.testing.assert_allclose(here[:3, 2], -there[:3, 2], atol=1e-4)
    same(load(path), path)


def test_fewer_slices_than_tiles_and_anisotropic_pixels(mosaic, tmp_path):
    raw = csa(mosaic)
    raw = with_entry(raw, b"NumberOfImagesInMosaic", b"48", b"43")
    path = changed(
        mosaic,
        tmp_path / "few.dcm",
        private={(0x0029, 0x1010): raw},
        PixelSpacing=["2.5", "1.25"],
    )
    assert load(path).image.grid.shape == (128, 128, 43)
    np.testing.assert_allclose(load(path).image.grid.spacing[:2], [1.25, 2.5], rtol=1e-5)
    same(load(path), path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"private": {(0x0029, 0x1010): None}}, "private header .* missing"),
        ({"private": {(0x0029, 0x1010): b"SV10 nothing here"}}, "damaged"),
        ({"missing": b"SliceNormalVector"}, "give its SliceNormalVector"),
        ({"missing": b"NumberOfImagesInMosaic"}, "give its NumberOfImagesInMosaic"),
        ({"SpacingBetweenSlices": None}, "0018,0088"),
        ({"ImagePositionPatient": None}, "where it lies"),
        ({"ImageOrientationPatient": ["0", "1", "0", "0", "0", "1"]}, "normal of its slices"),
    ],
)
def test_a_mosaic_that_cannot_be_placed_is_refused_by_name(mosaic, tmp_path, changes, said):
    if "missing" in changes:
        raw = csa(mosaic).replace(changes["missing"], b"x" * len(changes["missing"]))
        changes = {"private": {(0x0029, 0x1010): raw}}
    path = changed(mosaic, tmp_path / "odd.dcm", **changes)
    with pytest.raises(ValueError, match=rf"odd\.dcm is a mosaic of Siemens.*{said}.*dcm2niix"):
        load(path)


def test_several_mosaics_are_volumes_in_the_order_they_were_taken(mosaic, tmp_path):
    for name, number, time in (("a", 12, "203020.5"), ("b", 3, "203006.5"), ("c", 7, "203013.5")):
        changed(
            mosaic,
            tmp_path / f"{name}.dcm",
            AcquisitionNumber=number,
            InstanceNumber=number,
            AcquisitionTime=time,
            SOPInstanceUID=pydicom.uid.generate_uid(),
        )
    said = r"3 volumes: 0: acquisition number 3, acquisition time 203006\.5.*0 to 2 with frame=N"
    with pytest.raises(ValueError, match=said):
        load(tmp_path)
    for frame, name in enumerate("bca"):
        same(load(tmp_path, frame=frame), tmp_path / f"{name}.dcm")
    with pytest.raises(ValueError, match="volumes 0 to 2; volume 3"):
        load(tmp_path, frame=3)
    text = " ".join(map(str, inspect(tmp_path)))
    assert "3 volumes" in text
    assert "volume 2: acquisition number 12" in text


def test_the_same_mosaic_twice_is_not_two_volumes(mosaic, tmp_path):
    shutil.copy(mosaic, tmp_path / "a.dcm")
    shutil.copy(mosaic, tmp_path / "b.dcm")
    with pytest.raises(ValueError, match=r"a\.dcm = b\.dcm"):
        load(tmp_path)
