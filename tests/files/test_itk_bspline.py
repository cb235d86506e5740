"""ITK's BSplineTransform and our B-spline, each read by the other; SimpleITK is the oracle."""

import h5py
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.alignment import pulled
from coincide.files.itk import read_transform, write_transform
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.bspline import BSpline
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Affine

SUFFIXES = (".tfm", ".txt", ".h5")


def direction(dim, seed=3):
    """Oblique and left-handed."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    turn[:, 0] *= -np.sign(np.linalg.det(turn))
    return turn


def spline(dim, order=3, turned=True):
    """An ITK B-spline with random coefficients."""
    mesh, extent = (3, 5, 4)[:dim], (24.0, 45.0, 30.0)[:dim]
    result = sitk.BSplineTransform(dim, order)
    result.SetTransformDomainMeshSize(mesh)
    result.SetTransformDomainPhysicalDimensions(extent)
    result.SetTransformDomainOrigin((5.0, -7.0, 11.0)[:dim])
    turn = direction(dim) if turned else np.eye(dim)
    result.SetTransformDomainDirection(turn.ravel().tolist())
    random = np.random.default_rng(dim)
    result.SetParameters(random.normal(0, 3, result.GetNumberOfParameters()).tolist())
    return result


def places(transform, count=300):
    """LPS points inside, close to the border on both sides, and outside."""
    dim = transform.GetDimension()
    transform = sitk.BSplineTransform(transform)
    random = np.random.default_rng(5)
    inside = random.uniform(0, 1, (count, dim))
    near, far = random.uniform(0, 1, (count, dim)), random.uniform(-0.5, 1.5, (count, dim))
    axis, side = random.integers(0, dim, count), random.integers(0, 2, count)
    near[np.arange(count), axis] = side + random.choice([-1e-6, 1e-6, -1e-3, 1e-3], count)
    size = np.array(transform.GetTransformDomainPhysicalDimensions())
    turn = np.array(transform.GetTransformDomainDirection()).reshape(dim, dim)
    fractions = np.concatenate([inside, near, far])
    return fractions * size @ turn.T + transform.GetTransformDomainOrigin()


def theirs(transform, points):
    return np.array([transform.TransformPoint(p.tolist()) for p in points])


def ours(transform, points):
    signs = np.array([-1, -1, 1])[: points.shape[1]]
    moved = transform(torch.from_numpy(points * signs)[None])[0]
    return moved.detach().numpy() * signs


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dim", [2, 3])
def test_itk_s_spline_is_our_spline(tmp_path, dim, suffix, turned):
    transform = spline(dim, turned=turned)
    sitk.WriteTransform(transform, str(tmp_path / f"s{suffix}"))
    found = read_transform(tmp_path / f"s{suffix}")
    assert isinstance(found, BSpline)
    points = places(transform)
    expected = theirs(transform, points)
    still = (expected == points).all(1)
    assert still.any()
    assert (~still).sum() > 300
    np.testing.assert_allclose(ours(found, points), expected, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
def test_both_count_the_border_of_the_domain_as_inside(tmp_path, dim):
    transform = sitk.BSplineTransform(dim, 3)
    transform.SetTransformDomainMeshSize((2, 3, 4)[:dim])
    transform.SetTransformDomainPhysicalDimensions((8.0, 12.0, 32.0)[:dim])
    transform.SetParameters(np.arange(transform.GetNumberOfParameters(), dtype=float).tolist())
    sitk.WriteTransform(transform, str(tmp_path / "s.h5"))
    corners = np.array(np.meshgrid(*[(0, n) for n in (8.0, 12.0, 32.0)[:dim]])).reshape(dim, -1).T
    expected = theirs(transform, corners)
    assert (expected != corners).any(1).all()
    np.testing.assert_allclose(ours(read_transform(tmp_path / "s.h5"), corners), expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dim", [2, 3])
def test_a_spline_inside_a_composite(tmp_path, dim, suffix):
    inner, outer = spline(dim), sitk.AffineTransform(dim)
    outer.SetMatrix((np.eye(dim) + 0.1 * direction(dim)).ravel().tolist())
    both = sitk.CompositeTransform([outer, inner])
    sitk.WriteTransform(both, str(tmp_path / f"c{suffix}"))
    found = read_transform(tmp_path / f"c{suffix}")
    assert isinstance(found, Composite)
    points = places(inner)
    np.testing.assert_allclose(ours(found, points), theirs(both, points), atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order", [1, 2])
def test_other_orders_are_refused_by_name(tmp_path, order, suffix):
    path = tmp_path / f"s{suffix}"
    if suffix == ".h5":
        write_by_hand(path, spline(3, order), order)
    else:
        sitk.WriteTransform(spline(3, order), str(path))
    with pytest.raises(ValueError, match=rf"order {order}.*order 3.*TransformToDisplacementField"):
        read_transform(path)


def write_by_hand(path, transform, order):
    with h5py.File(path, "w") as file:
        entry = file.create_group("TransformGroup/0")
        kind = f"BSplineTransform_double_3_3_{order}"
        entry["TransformType"] = np.array([kind], h5py.string_dtype("ascii"))
        entry["TransformParameters"] = np.array(transform.GetParameters())
        entry["TransformFixedParameters"] = np.array(transform.GetFixedParameters())


def test_too_few_coefficients_are_refused(tmp_path):
    sitk.WriteTransform(spline(2), str(tmp_path / "s.tfm"))
    lines = (tmp_path / "s.tfm").read_text().splitlines()
    lines = [li.rsplit(" ", 1)[0] if li.startswith("Parameters") else li for li in lines]
    (tmp_path / "s.tfm").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"s\.tfm.*95 numbers where 96"):
        read_transform(tmp_path / "s.tfm")


@pytest.mark.parametrize("dim", [2, 3])
def test_a_spline_that_was_read_warps_refines_and_is_written_again(tmp_path, dim):
    sitk.WriteTransform(spline(dim), str(tmp_path / "s.h5"))
    found = read_transform(tmp_path / "s.h5")
    assert isinstance(found, BSpline)
    grid = Grid((12, 14, 10)[:dim], found.grid.affine)
    image = Image(torch.rand(1, 1, *grid.shape), grid)
    assert pulled(image, found, grid).data.isfinite().all()
    assert pulled(image, Composite([Affine(np.eye(dim + 1)), found]), grid).data.isfinite().all()
    points = places(spline(dim))
    np.testing.assert_allclose(ours(found.refined(), points), ours(found, points), atol=1e-9)
    write_transform(found, tmp_path / "again.h5")
    again = sitk.ReadTransform(str(tmp_path / "again.h5"))
    np.testing.assert_allclose(theirs(again, points), ours(found, points), atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
def test_our_spline_is_written_as_itk_s_own(tmp_path, dim):
    affine = np.eye(dim + 1)
    affine[:-1, :-1], affine[:-1, -1] = direction(dim) * [2, 3, 2.5][:dim], [5, -7, 11][:dim]
    start = BSpline(8.0).on(Grid((16, 12, 14)[:dim], affine))
    with torch.no_grad():
        start.coefficients.copy_(2 * torch.randn(start.coefficients.shape))
    shear = np.eye(dim + 1)
    shear[0, 1] = 0.2
    for transform in (start, Composite([Affine(shear), start])):
        write_transform(transform, tmp_path / "s.h5", grid=Grid((16, 12, 14)[:dim], affine))
        found = sitk.ReadTransform(str(tmp_path / "s.h5"))
        last = found.Downcast()
        if isinstance(last, sitk.CompositeTransform):
            last = last.GetBackTransform().Downcast()
        assert isinstance(last, sitk.BSplineTransform)
        points = places(last)
        np.testing.assert_allclose(ours(transform, points), theirs(found, points), atol=1e-5)
        torch.testing.assert_close(
            list(read_transform(tmp_path / "s.h5").parameters())[-1], start.coefficients
        )
