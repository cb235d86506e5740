"""Motion in the coordinates of a tube."""

import numpy as np
import pytest
import torch
import tube_toys

from coincide.files.itk import read_transform, write_transform
from coincide.synthetic.phantoms import centred
from coincide.transforms.tube import REACH, Tube
from coincide.transforms.tube_frame import TubeFrame
from random_transforms import woken
from worlds import oblique

RADIUS = 6.0


def helix(count: int = 40) -> np.ndarray:
    turn = np.linspace(0, 3, count)
    return np.stack([20 * np.cos(turn), 20 * np.sin(turn), 6 * turn], 1)


def arc(count: int = 40) -> np.ndarray:
    turn = np.linspace(0, 3, count)
    return np.stack([20 * np.cos(turn), 20 * np.sin(turn), 0 * turn], 1)


def frame_of(line: np.ndarray) -> TubeFrame:
    return TubeFrame(line, RADIUS, REACH, np.eye(line.shape[1]))


def places(dim: int, count: int = 2000, *, seed=0, reach=1.0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    drawn = 2 * torch.rand(count, dim, generator=random, dtype=torch.float64) - 1
    drawn[:, 1:] *= reach / (dim - 1) ** 0.5
    return drawn


@pytest.mark.parametrize("line", [helix(), arc(), arc()[:, :2], helix()[[0, -1]]])
def test_coordinates_lead_to_the_world_and_back(line):
    frame = frame_of(line)
    expected = places(line.shape[1], reach=1.5)
    expected[:, 0] *= 1.2  # beyond both ends as well
    found, missed = frame.to_tube(frame.to_world(expected))
    assert float((found - expected).abs().max()) < 1e-8
    assert float(missed.max()) < 1e-8


def test_the_slope_is_that_of_finite_differences():
    frame, place = frame_of(helix()), places(3, 300)
    step = 1e-6
    columns = [
        (frame.to_world(place + step * e) - frame.to_world(place - step * e)) / (2 * step)
        for e in torch.eye(3, dtype=torch.float64)
    ]
    assert float((torch.stack(columns, 2) - frame.slope(place)).abs().max()) < 1e-5


def test_coordinates_are_differentiable_where_points_are():
    frame = frame_of(helix())
    place = places(3, 200)
    points = frame.to_world(place).requires_grad_()
    found, _ = frame.to_tube(points)
    rows = [torch.autograd.grad(c.sum(), points, retain_graph=True)[0] for c in found.unbind(1)]
    expected = torch.linalg.inv(frame.slope(place))
    assert float((torch.stack(rows, 1) - expected).abs().max()) < 1e-10


def test_a_straight_tube_has_affine_coordinates():
    frame = frame_of(np.array([[0.0, 0, -15], [0, 1, 0], [0, 2, 15]]))
    slope = frame.slope(places(3, 500))
    assert float((slope - slope[:1]).abs().max()) < 1e-9
    assert float(frame.volume(places(3, 1))[0]) == pytest.approx(
        RADIUS**2 * np.hypot(2, 30) / 2, rel=1e-6
    )


def test_the_frame_of_a_planar_curve_does_not_turn_about_it():
    frame = frame_of(arc())
    # one of its vectors lies in the plane and the other stands on it, all along
    heights = frame.normals[:, :, 2]
    assert np.abs(heights - heights[:1]).max() < 1e-6
    tangents = np.diff(frame.centres, axis=0)
    middle = (frame.normals[1:] + frame.normals[:-1]) / 2
    along = np.einsum("nd,njd->nj", tangents / np.linalg.norm(tangents, axis=1)[:, None], middle)
    assert np.abs(along).max() < 1e-4


def test_a_tube_that_overlaps_itself_is_refused_where_it_does():
    turn = np.linspace(0, 1, 50)
    hook = np.stack([30 * turn, 40 * (turn - 0.5) ** 2 * 5], 1)
    with pytest.raises(ValueError, match=r"overlaps itself at \(15\.\d, -?[01]\.\d\) mm"):
        TubeFrame(hook, RADIUS, REACH, np.eye(2))


@pytest.mark.parametrize("line", [np.zeros((4, 3)), np.zeros((1, 3)), np.ones(5), arc()[:, :2]])
def test_what_is_no_line_is_refused(line):
    with pytest.raises(ValueError, match=r"a centre-line is \(N, 3\) points"):
        TubeFrame(line, RADIUS, REACH, np.eye(3))


def test_the_volume_change_is_that_in_tube_coordinates_times_the_ratio_of_volumes():
    grid = centred((40, 40, 24), 2.0)
    line = helix() - helix().mean(0)
    tube = Tube(line, RADIUS, 32, omega=3.0, bulk=0.0).on(grid).double()
    tube = woken(tube, size=1.0).requires_grad_(False)
    place = places(3, 200, reach=0.8)
    found = torch.linalg.det(tube.jacobian(tube.frame.to_world(place)[None]))[0]
    slope = tube.network.jets(place, 1)[1] + torch.eye(3, dtype=torch.float64)
    ratio = tube.frame.volume(tube.moved(place)) / tube.frame.volume(place)
    expected = torch.linalg.det(slope) * ratio
    assert float((expected - 1).abs().max()) > 0.05
    assert torch.allclose(found, expected, rtol=1e-6)


def test_far_from_the_tube_nothing_moves_without_bulk_motion():
    grid = centred((40, 40, 24), 2.0)
    tube = woken(Tube(helix() - helix().mean(0), RADIUS, bulk=0.0).on(grid)).requires_grad_(False)
    points = grid.points()
    _, weight = tube.inside(points[0])
    gone = (tube(points) - points)[0].norm(dim=1)
    assert float(gone[weight == 0].max()) == 0
    assert float(gone[weight == 1].mean()) > 0.3
    assert 0 < float((weight == 1).double().mean()) < 0.2


def test_it_is_saved_with_its_line_and_read_to_the_bit(tmp_path):
    grid = oblique((15, 14, 13))
    line = grid.to_world(np.array([[1.0, 7, 6], [7, 7, 7], [13, 7, 6]]))
    made = woken(Tube(line, 4.0, 16, omega=3.0).on(grid)).requires_grad_(False)
    write_transform(made, tmp_path / "tube.h5")
    back = read_transform(tmp_path / "tube.h5")
    assert isinstance(back, Tube)
    assert torch.equal(back(grid.points()), made(grid.points()))


SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]


@pytest.mark.parametrize("seed", SEEDS)
def test_peristalsis_is_found_better_in_tube_coordinates_at_equal_steps(seed):
    toy = tube_toys.toy(seed, bulk=0.0)
    tube, image = (tube_toys.fitted(m, toy, steps=40, seed=seed) for m in ("tube", "image"))
    assert tube < 0.85 * image < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_bulk_motion_defeats_the_tube_alone_and_not_both_together(seed):
    toy = tube_toys.toy(seed, bulk=5.0)
    tube, both = (tube_toys.fitted(m, toy, steps=60, seed=seed) for m in ("tube", "both"))
    assert both < 0.75 * tube
