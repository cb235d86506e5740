"""Series of several volumes, and enhanced DICOM, made here with pydicom; nibabel is an oracle."""

import warnings

import numpy as np
import pytest
from dicom_files import PLACES, SPACING, STEP, TURN, enhanced, plane, write

from coincide.cli.main import main
from coincide.files.doctor import inspect
from coincide.files.read import load

pydicom = pytest.importorskip("pydicom")


def series(folder, volumes, marks):
    """`PLACES` slices for each volume; marks(volume, place) gives elements of a slice."""
    random = np.random.default_rng(0)
    every = [(v, p) for v in range(volumes) for p in range(PLACES)]
    for count, which in enumerate(random.permutation(len(every))):
        volume, place = every[which]
        uid = pydicom.uid.generate_uid()
        write(
            folder,
            f"{count:03d}.dcm",
            place,
            **marks(volume, place),
            SOPInstanceUID=uid,
            pixels=plane(place) + 1000 * volume,
        )
    return folder


def check(folder, volumes):
    """Every volume has its own slices, in order."""
    for volume in range(volumes):
        found = load(folder, frame=volume)
        expected = np.stack([(plane(p) + 1000 * volume).T for p in range(PLACES)], -1) * 2.0 - 1000
        np.testing.assert_array_equal(found.image.numpy(), expected)
        assert found.warnings == ()
    for wrong in (-1, volumes):
        with pytest.raises(ValueError, match=f"volumes 0 to {volumes - 1}"):
            load(folder, frame=wrong)


def clock(seconds):
    return f"10{seconds // 60:02d}{seconds % 60:02d}.5"


CASES = {
    "temporal position": lambda v, _p: {"TemporalPositionIdentifier": v + 1},
    "acquisition number": lambda v, _p: {"AcquisitionNumber": v + 9},  # 10 comes after 9
    "echo time": lambda v, _p: {"EchoTime": f"{4.5 + 8 * v:g}"},
    "b-value": lambda v, _p: {"DiffusionBValue": float((0, 500, 1000, 2000)[v])},
    "acquisition time": lambda v, _p: {"AcquisitionTime": clock(30 * v)},
    "trigger time": lambda v, p: {"TriggerTime": f"{30.0 * v + 2 * p:g}"},  # a little later each
    "instance number": lambda v, p: {"InstanceNumber": v * PLACES + p + 1},
    "content time": lambda v, p: {"ContentTime": clock(10 * v + 3 * p)},
}


@pytest.mark.parametrize("name", list(CASES))
def test_volumes_of_a_series_are_told_apart(tmp_path, name):
    folder = series(tmp_path / "s", 4, CASES[name])
    with pytest.raises(ValueError, match=rf"4 volumes: 0: .*{name}.*0 to 3 with frame=N"):
        load(folder)
    check(folder, 4)
    text = " ".join(map(str, inspect(folder)))
    assert "4 volumes" in text
    assert f"volume 3: {name}" in text


def test_two_marks_together_tell_volumes_apart(tmp_path):
    def marks(volume, place):
        return {
            "EchoNumbers": volume % 2 + 1,
            "TemporalPositionIdentifier": volume // 2 + 1,
            "InstanceNumber": place * 6 + volume,
        }

    folder = series(tmp_path / "s", 6, marks)
    check(folder, 6)
    with pytest.raises(ValueError, match="1: temporal position 1, echo number 2"):
        load(folder)


def test_a_volume_that_lacks_slices_says_so(tmp_path):
    folder = series(tmp_path / "s", 2, lambda v, _p: {"TemporalPositionIdentifier": v})
    last = next(
        f
        for f in sorted(folder.iterdir())
        if (d := pydicom.dcmread(f)).TemporalPositionIdentifier == 1
        and plane(2)[0, 0] + 1000 == d.pixel_array[0, 0]
    )
    last.unlink()
    with pytest.raises(ValueError, match="1: temporal position 1, only 2 of 3 slices"):
        load(folder)
    assert load(folder, frame=0).warnings == ()
    assert "2 slices, others of the series have 3" in load(folder, frame=1).warnings[0]


def test_volumes_that_nothing_tells_apart_are_refused(tmp_path):
    folder = series(tmp_path / "s", 2, lambda _v, _p: {})
    with pytest.raises(ValueError, match=r"same place.*nothing in their headers tells 2 volumes"):
        load(folder)


def test_the_same_slices_twice_are_not_two_volumes(tmp_path):
    folder = series(tmp_path / "s", 1, lambda _v, p: {"InstanceNumber": p})
    for file in sorted(folder.iterdir()):
        (folder / f"copy{file.name}").write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"000\.dcm = copy000\.dcm.*remove the doubles"):
        load(folder)


def test_a_single_volume_is_number_0(tmp_path):
    folder = series(tmp_path / "s", 1, lambda _v, p: {"InstanceNumber": p})
    assert load(folder, frame=0).image.grid.shape == (6, 5, 3)
    with pytest.raises(ValueError, match="one volume, number 0; volume 2"):
        load(folder, frame=2)
    assert "volumes" not in " ".join(map(str, inspect(folder)))


def test_one_slice_at_many_times(tmp_path):
    for time in range(4):
        uid = pydicom.uid.generate_uid()
        write(
            tmp_path / "s",
            f"{time}.dcm",
            0,
            TriggerTime=str(25 * time),
            SliceThickness="8",
            SOPInstanceUID=uid,
            pixels=plane(time),
        )
    found = load(tmp_path / "s", frame=2)
    np.testing.assert_array_equal(found.image.numpy()[..., 0], plane(2).T * 2.0 - 1000)
    np.testing.assert_allclose(found.image.grid.spacing[2], 8)
    assert "one DICOM slice" in found.warnings[0]
    one = load(tmp_path / "s" / "2.dcm")
    np.testing.assert_array_equal(one.image.numpy(), found.image.numpy())
    np.testing.assert_allclose(one.image.grid.affine, found.image.grid.affine)


def test_colour_slices_are_refused_by_name(tmp_path):
    for number in range(3):
        write(tmp_path / "s", f"{number}.dcm", number, SOPInstanceUID=pydicom.uid.generate_uid())
        data = pydicom.dcmread(tmp_path / "s" / f"{number}.dcm")
        data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
        data.PlanarConfiguration = data.PixelRepresentation = 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit = 7
        del data.RescaleSlope, data.RescaleIntercept
        data.PixelData = bytes(range(90))
        data.save_as(tmp_path / "s" / f"{number}.dcm")
    with pytest.raises(ValueError, match=r"3 slices are colour pictures \(0\.dcm, 1\.dcm, 2"):
        load(tmp_path / "s")
    assert "luminance" in load(tmp_path / "s" / "0.dcm").warnings[0]


def test_convert_writes_the_volume_that_is_chosen(tmp_path, capsys):
    folder = series(tmp_path / "s", 2, CASES["echo time"])
    main(["convert", str(folder), str(tmp_path / "all.nii")])
    both = load(tmp_path / "all.nii", frame=1).image.numpy()
    np.testing.assert_array_equal(both, load(folder, frame=1).image.numpy())
    assert load(tmp_path / "all.nii", frame=0).image.grid == load(folder, frame=0).image.grid
    main(["convert", str(folder), str(tmp_path / "a.nii"), "--frame", "1"])
    expected = load(folder, frame=1).image.numpy()
    np.testing.assert_array_equal(load(tmp_path / "a.nii").image.numpy(), expected)
    main(["inspect", str(folder)])
    assert "volume 1: echo time 12.5" in capsys.readouterr().out


def placed(image):
    for index in [(0, 0, 0), (5, 4, 2), (1, 3, 2)]:
        i, j, k = index
        place = [10, -20, 30] + TURN @ [SPACING[0] * i, SPACING[1] * j, STEP * k]
        at = image.grid.to_world(np.array(index))
        np.testing.assert_allclose(at, place * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_frames_of_enhanced_dicom_lie_where_each_says(tmp_path, order):
    path = enhanced(tmp_path / "s" / "e.dcm", order=order)
    expected = np.stack([plane(p).T for p in range(PLACES)], -1)
    for given in (path, path.parent):
        found = load(given)
        assert found.warnings == ()
        np.testing.assert_array_equal(found.image.numpy(), expected)
        placed(found.image)


def test_nibabel_places_enhanced_dicom_alike(tmp_path):
    path = enhanced(tmp_path / "s" / "e.dcm", SpacingBetweenSlices="2.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import wrapper_from_file
    theirs = wrapper_from_file(str(path))
    image, data = load(path).image, np.asarray(theirs.get_data())
    index = np.argwhere(np.ones(data.shape))  # rows first, and its slices may go the other way
    at = (index @ theirs.affine[:3, :3].T + theirs.affine[:3, 3]) * [-1, -1, 1]
    ours = image.grid.to_index(at)
    np.testing.assert_allclose(ours, ours.round(), atol=1e-4)
    ours = ours.round().astype(int)
    np.testing.assert_array_equal(image.numpy()[tuple(ours.T)], data[tuple(index.T)])


def test_every_frame_of_enhanced_dicom_has_its_own_scale(tmp_path):
    path = enhanced(tmp_path / "s" / "e.dcm", slope=lambda place: place + 0.5)
    expected = np.stack([plane(p).T * (p + 0.5) - 7 for p in range(PLACES)], -1)
    np.testing.assert_allclose(load(path).image.numpy(), expected)


def temporal(_group, content, volume, _place):
    content.TemporalPositionIndex = volume + 1


def echo(group, _content, volume, _place):
    one = pydicom.Dataset()
    one.EffectiveEchoTime = 4.5 + 8 * volume
    group.MREchoSequence = pydicom.Sequence([one])


def diffusion(group, _content, volume, _place):
    one, direction = pydicom.Dataset(), pydicom.Dataset()
    one.DiffusionBValue = 1000.0 if volume else 0.0
    if volume:
        direction.DiffusionGradientOrientation = [[1.0, 0, 0], [0, 1.0, 0]][volume - 1]
        one.DiffusionGradientDirectionSequence = pydicom.Sequence([direction])
    group.MRDiffusionSequence = pydicom.Sequence([one])


@pytest.mark.parametrize(
    ("mark", "name"),
    [(temporal, "temporal position"), (echo, "echo time"), (diffusion, "b-value"), (None, "inst")],
)
def test_volumes_of_enhanced_dicom_are_told_apart(tmp_path, mark, name):
    order = (8, 1, 3, 5, 0, 7, 2, 4, 6) if mark is not None else None
    path = enhanced(tmp_path / "s" / "e.dcm", 3, mark=mark, order=order)
    with pytest.raises(ValueError, match=rf"3 volumes: 0: .*{name}.*frame=N"):
        load(path)
    seen = set()
    for volume in range(3):
        image = load(path, frame=volume).image
        placed(image)
        found = {int(v) for v in np.unique(np.diff(image.numpy(), axis=2))}
        assert found == {100}  # no frame of another volume
        seen.add(int(image.numpy()[0, 0, 0]))
    assert seen == {0, 1000, 2000}
    assert "3 volumes" in " ".join(map(str, inspect(path)))


def test_enhanced_dicom_that_cannot_be_read_is_refused_by_name(tmp_path):
    path = enhanced(tmp_path / "a" / "e.dcm", kind="66.4")
    with pytest.raises(ValueError, match=r"e\.dcm is a DICOM segmentation.*dcmqi"):
        load(path)
    path = enhanced(tmp_path / "b" / "e.dcm", PerFrameFunctionalGroupsSequence=[])
    with pytest.raises(ValueError, match="enhanced DICOM of 3 frames, but says of 0"):
        load(path)
    path = enhanced(tmp_path / "c" / "e.dcm")
    data = pydicom.dcmread(path)
    del data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    data.save_as(path)
    with pytest.raises(ValueError, match=r"do not say where they lie \(e\.dcm frame 1\)"):
        load(path)


def test_a_missing_frame_of_enhanced_dicom_is_a_gap(tmp_path):
    path = enhanced(tmp_path / "s" / "e.dcm", 2, mark=temporal)
    data = pydicom.dcmread(path)
    plane = data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    at = np.array([10, -20, 30]) + STEP * 5 * TURN[:, 2]
    plane.ImagePositionPatient = [f"{v:.6f}" for v in at]
    data.save_as(path)
    with pytest.raises(ValueError, match="not evenly spaced"):
        load(path, frame=0)


def test_files_of_several_plain_frames_are_not_mixed(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "s", f"{name}.dcm", 0, SOPInstanceUID=pydicom.uid.generate_uid())
        data = pydicom.dcmread(tmp_path / "s" / f"{name}.dcm")
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
        data.NumberOfFrames = 3
        data.PixelData = np.stack([plane(n) for n in range(3)]).tobytes()
        data.save_as(tmp_path / "s" / f"{name}.dcm")
    with pytest.raises(ValueError, match="several frames each"):
        load(tmp_path / "s")
