"""The interface of every kernel gives each gradient that has a meaning, or says which it lacks."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from coincide.features.self_similarity import adjacent_pairs
from coincide.kernels.blocks import match_blocks
from coincide.kernels.demons import demons
from coincide.kernels.difference import mean_square, mean_square_force
from coincide.kernels.histogram import joint_histogram
from coincide.kernels.interpolate import interpolate
from coincide.kernels.invert import invert
from coincide.kernels.labels import label_sums
from coincide.kernels.lncc import decorrelation
from coincide.kernels.local_histogram import local_histogram
from coincide.kernels.mind import descriptors
from coincide.kernels.normal import normal_equations
from coincide.kernels.radial import radial_sum, radial_sum_at
from coincide.kernels.regularity import regularity
from coincide.kernels.smooth import gaussian
from coincide.kernels.update import compose, force, largest
from coincide.kernels.warp import force_along, warp, warp_linear
from worlds import noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (5, 6), 3: (4, 3, 5)}
BINS = 8


def values(dim, seed, *, channels=1, batch=2):
    shape = SHAPES[dim]
    made = noise(shape, seed=seed, sigma=0.6, batch=batch, channels=channels, dtype=torch.float64)
    return made.requires_grad_()


def weights(dim):
    return (0.3 + values(dim, 9).detach().abs()).requires_grad_()


MEASURES = {
    "mean square": lambda f, w, m: mean_square(f, w, m),
    "local correlation": lambda f, w, m: decorrelation(f, w, m, (1,) * (f.ndim - 2), 1e-2),
}


@pytest.mark.parametrize("name", MEASURES)
@both_dimensions
def test_measures_have_gradients_to_both_images_and_the_mask(name, dim):
    images = [values(dim, n, channels=2) for n in (1, 2)]
    assert gradcheck(MEASURES[name], (*images, weights(dim)), fast_mode=True)
    # without that of the mask, which the compiled loops do not give
    assert gradcheck(
        lambda f, w: MEASURES[name](f, w, weights(dim).detach()), images, fast_mode=True
    )


@both_dimensions
def test_the_gradients_of_the_mean_square_are_one_another_s_negative(dim):
    f, w, m = values(dim, 1), values(dim, 2), weights(dim).detach()
    way = torch.tensor([1.0, -3.0], dtype=torch.float64)
    one, other = torch.autograd.grad((way * mean_square(f, w, m)).sum(), (f, w))
    assert float(one.abs().max()) > 1e-3
    assert torch.equal(one, -other)


@both_dimensions
def test_where_nothing_counts_the_mean_square_still_has_its_gradient_to_the_fixed_image(dim):
    f, w, m = values(dim, 1), values(dim, 2), weights(dim).detach().clone()
    m[1] = 0
    assert gradcheck(lambda x: mean_square(x, w.detach(), m), f)
    one, other = torch.autograd.grad(mean_square(f, w, m)[1], (f, w))
    torch.testing.assert_close(one[1], 2 * f[1].detach() / f[1].numel())
    assert not other.any()


@both_dimensions
def test_local_correlation_has_the_gradient_of_the_exchanged_images(dim):
    f, w, m = values(dim, 1), values(dim, 2), weights(dim).detach()
    radius = (1,) * dim
    (one,) = torch.autograd.grad(decorrelation(f, w, m, radius, 1e-2).sum(), f)
    (other,) = torch.autograd.grad(decorrelation(w, f, m, radius, 1e-2).sum(), f)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("local", [False, True], ids=["whole", "local"])
@both_dimensions
def test_histograms_have_gradients_to_the_warped_image_and_the_mask_alone(local, dim):
    f, w = ((values(dim, n) * 1.5 + BINS / 2).detach() for n in (1, 2))
    m = weights(dim)

    def table(fixed, warped, mask):
        if local:
            return local_histogram(fixed, warped, mask, BINS, (2.5,) * dim)
        return joint_histogram(fixed, warped, mask, BINS)

    assert gradcheck(lambda x, y: table(f, x, y), (w.requires_grad_(), m), fast_mode=True)
    with pytest.raises(ValueError, match="was given a fixed that needs a gradient"):
        table(f.requires_grad_(), w, m)
    with torch.no_grad():
        assert float(table(f, w, m).sum()) > 1


@both_dimensions
def test_descriptors_have_a_gradient_to_the_image(dim):
    pairs = adjacent_pairs(dim, 1)
    assert gradcheck(lambda v: descriptors(v, *pairs, 1, 1e-3), values(dim, 1), fast_mode=True)


@both_dimensions
def test_sums_of_labels_have_gradients_to_the_displacement_and_the_mask(dim):
    maps = [(values(dim, n).detach() * 1.5 + 2).round().clamp(0, 3).int() for n in (1, 2)]
    geometry = np.eye(dim, dim + 1) + 0.01, np.eye(dim), 3
    field = (0.4 * values(dim, 3, channels=dim)).detach().requires_grad_()
    assert gradcheck(
        lambda u, m: label_sums(*maps, u, m, *geometry), (field, weights(dim)), fast_mode=True
    )


@both_dimensions
def test_radial_sums_have_gradients_to_the_weights_the_centres_and_the_points(dim):
    random = np.random.default_rng(0)
    centres, points, at = (
        torch.tensor(random.uniform(0, 4, shape), requires_grad=True)
        for shape in ((5, dim), (1, 3, dim), (2, 1, 5))
    )
    grid = np.eye(dim, dim + 1) + 0.1
    assert gradcheck(lambda c, w: radial_sum(grid, SHAPES[dim], c, w), (centres, at))
    assert gradcheck(lambda c, w, p: radial_sum_at(p, c, w), (centres, at, points))


@both_dimensions
def test_sampling_has_gradients_to_the_volume_and_to_what_says_where(dim):
    volume = values(dim, 1, channels=2)
    field = (0.7 * values(dim, 2, channels=dim)).detach().requires_grad_()
    matrix = np.concatenate([0.8 * np.eye(dim) + 0.03, np.full((dim, 1), 0.3141)], 1)
    index = torch.tensor(matrix, requires_grad=True)
    assert gradcheck(
        lambda v, u: warp(v, u, matrix, np.eye(dim), clamp=True)[0], (volume, field), fast_mode=True
    )
    assert gradcheck(
        lambda v: warp(v, None, matrix, np.eye(dim), shape=SHAPES[dim])[0], volume, fast_mode=True
    )
    assert gradcheck(
        lambda v, a: warp_linear(v, a, SHAPES[dim])[0], (volume, index), fast_mode=True
    )


def refusing(v, u):
    """Calls that cannot give the gradient that an image or a displacement needs."""
    dim = u.shape[1]
    eye, index, still = np.eye(dim), np.eye(dim, dim + 1), v.detach()
    out, room = torch.empty_like(u), (torch.empty_like(v), torch.empty_like(v))
    demon = {"longest": 1.0, "share": 0.5, "floor": 1.0, "out": out}
    start = np.zeros((1, dim), int)
    return {
        "match_blocks": lambda: match_blocks(v[0, 0], still[0, 0], still[0, 0], start, 2, 1),
        "interpolate": lambda: interpolate(v, None, index, eye, SHAPES[dim], "cubic"),
        "invert": lambda: invert(u, 3, 0.1),
        "regularity": lambda: regularity(u, eye),
        "normal_equations": lambda: normal_equations(still, v, index, still),
        "demons": lambda: demons(v, still, still, eye, **demon),
        "mean_square_force": lambda: mean_square_force(v, v, v, eye, out=out),
        "filter_into": lambda: gaussian(v, (1.0,) * dim, out=room[0]),
        "force": lambda: force(still, v, eye, out=out),
        "compose": lambda: compose(u, u, 0.1, out=out),
        "warp_into": lambda: warp(still, u, index, eye, out=room),
        "force_along": lambda: force_along(still, still, u, eye, out=out),
    }


@pytest.mark.parametrize("name", refusing(torch.zeros(1, 1, 5, 6), torch.zeros(1, 2, 5, 6)))
@both_dimensions
def test_what_gives_no_gradient_says_so_and_works_without(name, dim):
    calls = refusing(values(dim, 1, batch=1), values(dim, 2, channels=dim, batch=1))
    with pytest.raises(ValueError, match=rf"{name} was given a \w+ .*needs a gradient.*detach"):
        calls[name]()
    with torch.no_grad():
        calls[name]()


def test_a_number_knows_no_gradient():
    assert largest(values(3, 1, channels=3), np.eye(3)) > 0


def test_a_second_derivative_is_refused_by_the_loops():
    f, w, m = values(2, 1), values(2, 2), weights(2).detach()
    way = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((way * mean_square(f, w, m)).sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()
