"""One network for a series of images, and the flow along an implicit velocity."""

import h5py
import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.files.itk import read_transform, write_transform
from coincide.files.shared import read_shared, write_shared
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.series import register_series
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.family import Family
from coincide.transforms.series import Series
from coincide.transforms.siren_velocity import SirenVelocity
from random_transforms import interior, woken
from worlds import oblique

LEVELS = (Level(2, 50, 0), Level(1, 40, 0))


def moving_phantom(count: int = 7, *, noise: float = 0.05):
    """A phantom that bends there and back, and how far it has gone at every time."""
    image = textured((40, 38), 4).image
    bend = smooth_displacement(image.grid, peak=5, sigma=10, seed=2).field.detach()
    random = torch.Generator().manual_seed(0)
    times = np.linspace(0, 1, count)
    truths, images = [], []
    for time in times:
        share = float(np.sin(np.pi * time))
        truth = Displacement(field=share * bend, grid=image.grid).requires_grad_(False)
        shown = pulled(image, truth.inverse(), image.grid).with_mask(None)
        drawn = torch.randn(shown.data.shape, generator=random)
        images.append(shown.with_data(shown.data + noise * drawn))
        truths.append(truth)
    return images, times, truths


def error(found, truth, image) -> float:
    with torch.no_grad():
        gap = found.displacement(image.grid) - truth.field
    return float(gap.norm(dim=1)[0][image.data[0, 0] > 0.15].mean())


def test_one_network_follows_a_moving_phantom_and_is_steadier_than_image_by_image():
    images, times, truths = moving_phantom()
    series = register_series(images, times, objective="mse + 0.05*bending", levels=LEVELS)
    alone = [
        optimise(images[0], image, "bspline(spacing=6.0)", objective="mse + 0.05*bending",
                 optimiser="lbfgs", levels=(Level(2, 30), Level(1, 30))).transform
        for image in images
    ]  # fmt: skip
    moments = [series.at(float(t)) for t in times]
    nothing = Displacement(grid=images[0].grid).requires_grad_(False)
    still = np.mean([error(nothing, t, images[0]) for t in truths])
    left, other = (
        np.mean([error(f, t, images[0]) for f, t in zip(found, truths, strict=True)])
        for found in (moments, alone)
    )
    assert still > 0.5
    assert left < 0.5 * still
    assert left < 1.3 * other
    with torch.no_grad():
        jerks = [
            float(
                np.diff([f.displacement(images[0].grid)[0].numpy() for f in found], 2, axis=0).std()
            )
            for found in (moments, alone)
        ]
    assert jerks[0] < jerks[1]
    weights = sum(p.numel() for p in series.parameters())
    assert weights < sum(p.numel() for t in alone for p in t.parameters()) * 20


def test_between_two_images_it_is_between_them():
    images, times, truths = moving_phantom(5, noise=0.0)
    series = register_series(images, times, objective="mse + 0.05*bending", levels=LEVELS)
    share = np.sin(np.pi * 0.375) / np.sin(np.pi * 0.5)
    between = Displacement(field=float(share) * truths[2].field, grid=images[0].grid)
    still = error(Displacement(grid=images[0].grid), between.requires_grad_(False), images[0])
    found = error(series.at(0.375), between, images[0])
    assert found < 0.5 * still


def test_at_the_time_of_the_reference_nothing_moves():
    grid = oblique((12, 11, 10))
    series = Series(grid, (3.0, 9.0), 5.0, width=16)
    series.network.last.weight.data.normal_()
    points = interior(grid)
    assert torch.equal(series.at(5.0)(points), points)
    moved = series.at(6.0)(points)
    assert float((moved - points).abs().max().detach()) > 1e-3
    again = Series(grid, (3.0, 9.0), 5.0, width=16)
    again.load_state_dict(series.state_dict())
    assert torch.equal(again.at(6.0)(points), moved)


@pytest.mark.parametrize(("count", "reference"), [(1, 0), (4, 9)])
def test_a_series_without_reference_is_refused(count, reference):
    images, times, _ = moving_phantom(count)
    with pytest.raises(ValueError, match="a series has two images or more"):
        register_series(images, times, reference=reference)
    with pytest.raises(ValueError, match="begins before it ends"):
        Series(images[0].grid, (1.0, 1.0), 1.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_flow_backwards_in_time_undoes_the_flow(dim):
    grid = oblique((25, 27, 24)[:dim])
    flow = woken(SirenVelocity(32, omega=3.0).on(grid), size=3.0).double().requires_grad_(False)
    points = interior(grid)
    moved = flow(points)
    assert float((moved - points).norm(dim=-1).max()) > 1
    back = flow.inverse()
    assert float((back(moved) - points).norm(dim=-1).max()) < 1e-3
    assert torch.equal(back.inverse()(points), moved)
    assert float(torch.linalg.det(flow.jacobian(points)).min()) > 0


def test_more_steps_of_the_flow_change_little():
    grid = oblique((25, 27))
    few = woken(SirenVelocity(32, omega=3.0, steps=4).on(grid), size=3.0).double()
    many = SirenVelocity(32, omega=3.0, steps=16, grid=grid).double()
    many.load_state_dict(few.state_dict())
    points = interior(grid)
    assert float((few(points) - many(points)).abs().max().detach()) < 1e-3


def same_at_all_times(found, expected, points):
    for time in (3.5, 5.0, 9.0):
        assert torch.equal(found.at(time)(points), expected.at(time)(points))


def test_a_series_comes_back_from_its_file_to_the_bit_and_the_file_is_small(tmp_path):
    grid = oblique((96, 90, 80))
    series = woken(Series(grid, (3.0, 9.0), 5.0, pace=0.7, seed=3), size=2.0)
    write_shared(series, tmp_path / "s.h5")
    again = read_shared(tmp_path / "s.h5")
    assert (again.times, again.reference, again.pace, again.seed) == ((3.0, 9.0), 5.0, 0.7, 3)
    same_at_all_times(again, series, interior(grid))
    # ten thousand weights, however many voxels and images
    assert (tmp_path / "s.h5").stat().st_size < 200_000


def test_a_moment_is_a_transform_in_a_file_and_brings_its_series(tmp_path):
    grid = oblique((12, 11, 10))
    series = woken(Series(grid, (3.0, 9.0), 5.0, width=16), size=2.0)
    moment = series.at(6.5)
    write_transform(moment, tmp_path / "m.h5")
    again = read_transform(tmp_path / "m.h5")
    points = interior(grid)
    assert again.time == 6.5
    assert torch.equal(again(points), moment(points))
    same_at_all_times(again.series, series, points)
    write_transform(moment.inverse(), tmp_path / "i.h5")
    assert torch.equal(read_transform(tmp_path / "i.h5")(points), moment.inverse()(points))
    # who does not know the series finds the field
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file["Coincide"]
    field = read_transform(tmp_path / "m.h5")
    assert float((field(points) - moment(points)).abs().max().detach()) < 0.1


def test_a_family_comes_back_with_its_codes(tmp_path):
    grid = oblique((12, 11, 10))
    family = woken(Family(grid, 3, latent=2, width=16), size=2.0)
    family.codes.data.normal_(generator=torch.Generator().manual_seed(0))
    write_shared(family, tmp_path / "f.h5")
    again = read_shared(tmp_path / "f.h5")
    points = interior(grid)
    assert torch.equal(again.member(2)(points), family.member(2)(points))


def test_files_of_one_kind_are_not_taken_for_the_other(tmp_path):
    grid = oblique((12, 11, 10))
    series = Series(grid, (3.0, 9.0), 5.0, width=16)
    write_shared(series, tmp_path / "s.h5")
    with pytest.raises(ValueError, match="read it with read_shared"):
        read_transform(tmp_path / "s.h5")
    write_transform(series.at(4.0), tmp_path / "m.h5")
    with pytest.raises(ValueError, match="read by read_transform"):
        read_shared(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"a file \.h5, not s\.nii\.gz"):
        write_shared(series, tmp_path / "s.nii.gz")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_shared(tmp_path / "none.h5")
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged or not HDF5"):
        read_shared(tmp_path / "bad.h5")


def test_several_times_are_a_batch():
    grid = oblique((12, 11, 10))
    series = woken(Series(grid, (3.0, 9.0), 5.0, width=16), size=2.0)
    times, points = (3.0, 6.0, 8.0), interior(grid)
    both = series.at(torch.tensor(times))
    assert both.displacement(grid).shape == (3, 3, *grid.shape)
    for found, time in zip(both(points), times, strict=True):
        torch.testing.assert_close(found[None], series.at(time)(points), rtol=0, atol=1e-5)


def test_images_on_other_grids_are_batched_by_grid():
    images, times, _ = moving_phantom(4)
    smaller = [image.crop((2, 2), (36, 36)) if n % 2 else image for n, image in enumerate(images)]
    costs = []
    register_series(
        smaller, times, objective="ncc + mind", levels=(Level(2, 4, 0),),
        watch=lambda _, cost: costs.append(cost),
    )  # fmt: skip
    assert len(costs) == 4
    assert costs[-1] < costs[0]
