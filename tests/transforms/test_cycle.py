import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.files.itk import read_transform, write_transform
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimise import Optimise
from coincide.penalties.symmetric_jacobian import SymmetricJacobian
from coincide.registration import Step
from coincide.scores.evaluate import evaluate
from coincide.space.image import Image
from coincide.status import status
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.cycle import Cycle
from coincide.transforms.linear import Affine
from coincide.transforms.newton import Newton
from coincide.transforms.siren import Siren
from coincide.way import Found
from random_transforms import interior, woken
from worlds import oblique

GRID = oblique((20, 22, 18), spacing=3.0)


def agreeing(size=1.0):
    """A cycle whose B is linear, and whose F is the inverse of that, both by their last layers."""
    cycle = Cycle(width=16, omega=6.0).on(GRID).double().requires_grad_(False)
    half = float(GRID.extent.max()) / 2
    for network, sign in ((cycle.ahead.network, 1), (cycle.back.network, -1)):
        network.last.bias.copy_(sign * size / half * torch.tensor([1.0, -0.5, 0.25]))
    return cycle


def test_the_uncertainty_is_zero_where_each_undoes_the_other():
    cycle, points = agreeing(), interior(GRID)
    assert float((cycle(points) - points).norm(dim=-1).min()) > 1
    assert float(cycle.uncertainty(points).max()) < 1e-6
    torch.testing.assert_close(cycle(points), cycle.ahead(points))


def test_the_uncertainty_is_the_distance_by_which_one_is_moved():
    cycle, points = agreeing(), interior(GRID)
    off = torch.tensor([0.3, 0.4, 0.0], dtype=torch.float64)
    axes = cycle.back.axes(points)[1]
    cycle.back.network.last.bias += axes @ off
    torch.testing.assert_close(cycle.uncertainty(points), torch.full((1, 200), 0.5).double())
    # and the consensus is midway
    torch.testing.assert_close(cycle(points), cycle.ahead(points) - off / 2)


def test_the_uncertainty_is_a_score_also_behind_a_linear_map():
    cycle = agreeing()
    off = torch.tensor([0.3, 0.4, 0.0], dtype=torch.float64)
    cycle.back.network.last.bias += cycle.back.axes(interior(GRID))[1] @ off
    image = Image(torch.rand(1, 1, *GRID.shape), GRID)
    moved = Affine(np.eye(4)).requires_grad_(False) @ cycle
    for transform in (cycle, moved):
        found = evaluate(Alignment(image, image, transform)).to_dict()["uncertainty"]
        assert found == pytest.approx({"mean_mm": 0.5, "p95_mm": 0.5, "max_mm": 0.5}, abs=1e-3)
    assert evaluate(Alignment(image, image, cycle.ahead)).uncertainty is None


def test_the_consensus_is_midway_between_one_and_the_inverse_of_the_other():
    cycle = woken(Cycle(width=16, omega=6.0).on(GRID), size=1.5).double().requires_grad_(False)
    points = interior(GRID)
    one, other = cycle.both(points)
    torch.testing.assert_close(cycle.back(other), points, atol=1e-6, rtol=0)
    torch.testing.assert_close(cycle(points), (one + other) / 2)
    torch.testing.assert_close(cycle.uncertainty(points), (one - other).norm(dim=-1))
    assert float(cycle.uncertainty(points).mean()) > 0.3


def test_a_map_of_the_uncertainty_is_that_of_its_voxels():
    cycle = woken(Cycle(width=16, omega=6.0).on(GRID), size=1.5).requires_grad_(False)
    small = GRID.crop((4, 4, 4), (12, 13, 11))
    found = cycle.uncertainty_map(small)
    assert found.data.shape == (1, 1, 8, 9, 7)
    expected = cycle.uncertainty(small.points()).reshape(found.data.shape)
    torch.testing.assert_close(found.data, expected.float(), atol=1e-3, rtol=0)


def test_a_file_gives_back_both_networks(tmp_path):
    cycle = woken(Cycle(width=16, seed=4).on(GRID), size=1.0).requires_grad_(False)
    write_transform(cycle, tmp_path / "t.h5", grid=GRID)
    again = read_transform(tmp_path / "t.h5")
    points = interior(GRID)
    assert torch.equal(again(points), cycle(points))
    assert torch.equal(again.uncertainty(points), cycle.uncertainty(points))


def test_the_two_networks_begin_with_weights_of_their_own():
    cycle = Cycle(width=16).on(GRID)
    one, other = cycle.ahead.network, cycle.back.network
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)


def hard(seed=0, peak=9.0):
    fixed = textured((48, 44), seed=2, spacing=1.5).image
    truth = smooth_displacement(fixed.grid, peak=peak, sigma=12, seed=seed).requires_grad_(False)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)
    return fixed, moving, truth


def fitted(fixed, moving, transform, optimiser, steps=60):
    return optimise(
        fixed,
        moving,
        transform,
        objective="ncc + 0.05*symmetric_jacobian",
        optimiser=optimiser,
        levels=(Level(3, steps, 0), Level(1.5, steps, 0)),
    )


def test_a_fit_finds_the_deformation_and_says_how_far_the_two_disagree():
    fixed, moving, truth = hard(peak=5.0)
    result = fitted(
        fixed, moving, "cycle(width=48, omega=10.0)", "cycle_sampled(points=800, regularised=100)"
    )
    assert "the two directions disagree by" in result.status
    points = fixed.grid.crop((8, 8), (40, 36)).points()
    before = float((truth(points) - points).norm(dim=-1).mean())
    transform = result.transform.requires_grad_(False)
    error = (transform(points) - truth(points)).norm(dim=-1)
    assert float(error.mean()) < 0.5 * before
    # there and back again
    missed = (transform.back(transform.ahead(points)) - points).norm(dim=-1)
    assert float(missed.mean()) < 0.5 * before
    assert "cycle" in result.history[-1].terms


def test_without_the_cycle_term_the_two_disagree_more():
    fixed, moving, _ = hard()
    doubts = []
    for beta in (0.0, 0.01):
        optimiser = f"cycle_sampled(points=500, regularised=50, beta={beta})"
        found = fitted(fixed, moving, "cycle(width=32)", optimiser, steps=40).transform
        doubts.append(float(found.uncertainty(fixed.grid.points()).mean()))
    assert doubts[1] < 0.7 * doubts[0]


@pytest.mark.slow
def test_two_networks_come_nearer_than_one_on_a_hard_deformation():
    single, cycle = [], []
    for seed in range(8):
        fixed, moving, truth = hard(seed=seed, peak=14.0)
        points = fixed.grid.crop((8, 8), (40, 36)).points()
        for transform, optimiser, errors in (
            (Siren(width=48, omega=20.0, seed=seed), "sampled(points=800)", single),
            (Cycle(width=48, seed=seed), "cycle_sampled(points=800)", cycle),
        ):
            found = fitted(fixed, moving, transform, optimiser).transform.requires_grad_(False)
            errors.append(float((found(points) - truth(points)).norm(dim=-1).mean()))
    assert np.mean(cycle) < np.mean(single)
    assert np.mean(np.array(cycle) < np.array(single)) > 0.5


def test_a_fold_is_pushed_open_by_the_symmetric_barrier():
    transform = Siren(width=16, omega=6.0).on(GRID).double()
    woken(transform, size=25.0)
    points = interior(GRID, 400)
    before = torch.linalg.det(transform.jacobian(points)).detach()
    assert float(before.min()) < -0.2

    rule = torch.optim.Adam(transform.parameters(), lr=2e-3)
    for _ in range(40):
        rule.zero_grad()
        SymmetricJacobian().density(transform.jacobian(points)).mean().backward()
        rule.step()
    after = torch.linalg.det(transform.jacobian(points)).detach()
    assert float(after.min()) > float(before.min()) + 0.2
    assert float((after < 0).double().mean()) < 0.5 * float((before < 0).double().mean())


@pytest.mark.parametrize("det", [0.05, -0.2])
def test_the_slope_of_the_barrier_raises_a_determinant_that_is_too_small(det):

    jacobian = torch.diag(torch.tensor([det, 1.0, 1.0])).double().requires_grad_()
    SymmetricJacobian().density(jacobian[None, None]).sum().backward()
    assert float(jacobian.grad[0, 0]) < -10


def test_an_optimiser_of_two_networks_refuses_one():
    fixed, moving, _ = hard()
    with pytest.raises(ValueError, match=r"cycle_sampled moves two networks, not Siren"):
        fitted(fixed, moving, "siren", "cycle_sampled")


def test_the_inverse_of_the_consensus_is_found_point_by_point():
    cycle, points = agreeing(), interior(GRID)
    inverse = cycle.inverse()
    assert isinstance(inverse, Newton)
    torch.testing.assert_close(cycle(inverse(points)), points, atol=1e-6, rtol=0)


def test_the_status_of_a_run_says_how_far_the_two_disagree():
    history = tuple(Step("cycle", 0, n, 1.0, {"cycle": 4.0}) for n in range(30))
    found = Found(agreeing(), Optimise("cycle"), history)
    assert (
        "deformed, there and back again missing by 2 mm"
        in status([found], initial="search").lower()
    )


def differing(inference, by):
    """A cycle whose F is the inverse of its B, but for a known smooth distance of about `by` mm."""
    cycle = woken(Cycle(16, omega=6.0, inference=inference).on(GRID), size=4.0).double()
    off = woken(Siren(16, omega=6.0, seed=9).on(GRID), seed=9, size=by).double()
    cycle.ahead = off @ Newton(cycle.back)
    return cycle.requires_grad_(False)


@pytest.mark.parametrize(("inference", "order"), [("taylor1", 2), ("taylor2", 3)])
def test_an_expansion_misses_the_inverse_by_a_power_of_what_the_two_differ(inference, order):
    points, missed = interior(GRID), []
    for by in (2.0, 1.0, 0.5):
        cycle = differing(inference, by)
        exact = Newton(cycle.back)(points)
        missed.append(float((cycle.both(points)[1] - exact).norm(dim=-1).mean()))
    orders = np.log2(np.array(missed[:-1]) / missed[1:])
    assert np.all(abs(orders - order) < 0.25)
    assert missed[0] > 1e-4


def test_the_expansions_come_nearer_to_newton_one_after_the_other():
    points = interior(GRID)
    found = {n: differing(n, 1.0)(points) for n in ("newton", "taylor1", "taylor2")}
    first, second = (
        float((found[n] - found["newton"]).norm(dim=-1).mean()) for n in ("taylor1", "taylor2")
    )
    assert 0 < second < 0.3 * first


@pytest.mark.parametrize("inference", ["taylor1", "taylor2"])
def test_an_expansion_has_derivatives_of_its_own_and_is_saved(inference, tmp_path):
    cycle = woken(Cycle(16, omega=6.0, inference=inference).on(GRID), size=2.0).double()
    cycle.requires_grad_(False)
    points, step = interior(GRID, 20), 1e-5
    for axis in range(3):
        way = torch.zeros(3, dtype=torch.float64)
        way[axis] = step
        expected = (cycle(points + way) - cycle(points - way)) / (2 * step)
        torch.testing.assert_close(cycle.jacobian(points)[..., axis], expected, rtol=0, atol=1e-7)
        curved = (cycle.jacobian(points + way) - cycle.jacobian(points - way)) / (2 * step)
        torch.testing.assert_close(cycle.hessian(points)[..., axis], curved, rtol=0, atol=1e-6)
    write_transform(cycle, tmp_path / "t.h5", grid=GRID)
    again = read_transform(tmp_path / "t.h5")
    assert again.inference == inference
    assert torch.equal(again(points), cycle(points))


def test_an_unknown_inference_is_refused():
    with pytest.raises(ValueError, match=r"no inference 'taylor3'; known: newton, taylor1"):
        Cycle(inference="taylor3")
