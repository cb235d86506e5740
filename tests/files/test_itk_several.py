"""Files with several transforms: one composite, or one for each time point."""

import h5py
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.cli.main import main
from coincide.files.itk import read_transform, write_transform

HEADING = "#Insight Transform File V1.0"
KINDS = {
    "AffineTransform_double_3_3": ("1 0 0 0 1 0 0 0 1 {n} 0 0", "0 0 0"),
    "MatrixOffsetTransformBase_double_3_3": ("1 0 0 0 1 0 0 0 1 {n} 0 0", "5 6 7"),
    "Euler3DTransform_double_3_3": ("0 0 0 {n} 0 0", "1 2 3 0"),
}


def motion(kind, count=4):
    """What tools that correct head motion write: one transform a time point, shifting x by n mm."""
    values, fixed = KINDS[kind]
    lines = [HEADING]
    for n in range(count):
        lines += [f"#Transform {n}", f"Transform: {kind}"]
        lines += [f"Parameters: {values.format(n=n)}", f"FixedParameters: {fixed}"]
    return "\n".join(lines) + "\n"


def as_h5(path, kind, count=4):
    values, fixed = KINDS[kind]
    with h5py.File(path, "w") as file:
        file["ITKVersion"] = np.array(["5.4.0"], h5py.string_dtype("ascii"))
        for n in range(count):
            entry = file.create_group(f"TransformGroup/{n}")
            entry["TransformType"] = np.array([kind], h5py.string_dtype("ascii"))
            entry["TransformParameters"] = np.array(values.format(n=n).split(), np.float64)
            entry["TransformFixedParameters"] = np.array(fixed.split(), np.float64)


def origin(transform):
    """Where the origin goes, LPS."""
    at = transform(torch.zeros(1, 1, 3, dtype=torch.float64))[0, 0].detach().numpy()
    return at * [-1, -1, 1]


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_several_without_a_composite_are_never_joined(tmp_path, kind, suffix):
    path = tmp_path / f"motion{suffix}"
    as_h5(path, kind) if suffix == ".h5" else path.write_text(motion(kind))
    with pytest.raises(ValueError, match=r"holds 4 transforms.*0 to 3.*frame=N"):
        read_transform(path)
    for n in range(4):
        np.testing.assert_allclose(origin(read_transform(path, frame=n)), [n, 0, 0], atol=1e-12)
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=r"transforms 0 to 3"):
            read_transform(path, frame=wrong)


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5"])
def test_a_composite_is_one_transform(tmp_path, suffix):
    shift, euler = sitk.TranslationTransform(3, (1, 2, 3)), sitk.Euler3DTransform((9, 8, 7.0), 0.2)
    both = sitk.CompositeTransform([shift, euler])
    path = tmp_path / f"both{suffix}"
    sitk.WriteTransform(both, str(path))
    for frame in (None, 0):
        found = read_transform(path, frame=frame)
        np.testing.assert_allclose(origin(found), both.TransformPoint((0.0, 0, 0)), atol=1e-12)
    with pytest.raises(ValueError, match="one transform, number 0"):
        read_transform(path, frame=1)


def test_a_composite_that_does_not_come_first_is_refused(tmp_path):
    text = motion("AffineTransform_double_3_3", 1)
    text += "#Transform 1\nTransform: CompositeTransform_double_3_3\n"
    (tmp_path / "odd.tfm").write_text(text)
    with pytest.raises(ValueError, match=r"composite .* first"):
        read_transform(tmp_path / "odd.tfm")


def test_one_transform_is_number_0_in_every_format(tmp_path):
    (tmp_path / "one.tfm").write_text(motion("AffineTransform_double_3_3", 1))
    transform = read_transform(tmp_path / "one.tfm")
    for suffix in (".h5", ".mat", ".txt"):
        write_transform(transform, tmp_path / f"one{suffix}")
        read_transform(tmp_path / f"one{suffix}", frame=0)
        with pytest.raises(ValueError, match="number 0"):
            read_transform(tmp_path / f"one{suffix}", frame=2)


def test_a_transform_without_numbers_of_its_own_does_not_get_those_before(tmp_path):
    text = motion("AffineTransform_double_3_3", 1).replace(
        "#Transform 0\n",
        "#Transform 0\nTransform: CompositeTransform_double_3_3\n#Transform 1\n",
    )
    text += "#Transform 2\nTransform: AffineTransform_double_3_3\nFixedParameters: 0 0 0\n"
    (tmp_path / "bad.tfm").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.tfm.*AffineTransform_double_3_3.*0 numbers"):
        read_transform(tmp_path / "bad.tfm")


def test_convert_writes_one_of_several(tmp_path, capsys):
    (tmp_path / "motion.tfm").write_text(motion("Euler3DTransform_double_3_3"))
    given = ["convert", str(tmp_path / "motion.tfm"), str(tmp_path / "third.h5")]
    with pytest.raises(SystemExit):
        main(given)
    assert "--frame N" in capsys.readouterr().err
    main([*given, "--frame", "2"])
    np.testing.assert_allclose(origin(read_transform(tmp_path / "third.h5")), [2, 0, 0])
