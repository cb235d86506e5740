import pytest
import torch

from coincide.networks.coordinates import ACTIVATIONS, CoordinateNetwork

PLACES = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1


def network(activation="sine", given=3, **arguments):
    made = CoordinateNetwork(
        given, 2, width=17, omega=6.0, activation=activation, seed=1, small=1.0, **arguments
    )
    return made.double()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_are_those_of_autograd(activation):
    made = network(activation)
    value, slope = made.jets(PLACES, 1)
    torch.testing.assert_close(value, made(PLACES), atol=1e-12, rtol=0)
    # places do not influence each other, so the sum over all has the slope of each
    expected = torch.autograd.functional.jacobian(lambda x: made(x).sum(0), PLACES).transpose(0, 1)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(slope, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("activation", ["sine", "fourier"])
@pytest.mark.parametrize("given", [2, 3])
def test_curvatures_are_those_of_autograd(activation, given):
    made = network(activation, given, depth=3)
    places = PLACES[:, :given]
    rows = [
        torch.autograd.functional.hessian(lambda x, n=n: made(x[None])[0, n], place)
        for place in places[:8]
        for n in range(2)
    ]
    expected = torch.stack(rows).unflatten(0, (8, 2))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(made.jets(places[:8], 2)[2], expected, atol=1e-12, rtol=0)


def test_training_through_curvatures_takes_gradients_of_first_order_only():
    made = network()
    made.jets(PLACES, 2)[2].square().sum().backward()
    found = made.layers[0].weight.grad
    weight = made.layers[0].weight.detach().clone()
    step = 1e-6

    def energy(change):
        with torch.no_grad():
            made.layers[0].weight.copy_(weight)
            made.layers[0].weight[4, 1] += change
            return float(made.jets(PLACES, 2)[2].square().sum())

    expected = (energy(step) - energy(-step)) / (2 * step)
    assert float(found[4, 1]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_are_linear_in_the_features(activation):
    made = network(activation)
    features = made.features(PLACES.reshape(4, 10, 3))
    assert features.shape == (4, 10, 18)
    assert (features[..., -1] == 1).all()
    both = torch.cat([made.last.weight, made.last.bias[:, None]], 1)
    torch.testing.assert_close(features @ both.T, made(PLACES.reshape(4, 10, 3)))


@pytest.mark.parametrize("activation", ["relu", "hash"])
def test_a_network_that_is_linear_between_kinks_has_no_second_derivative(activation):
    with pytest.raises(ValueError, match="take 'sine'"):
        network(activation).jets(PLACES, 2)


def test_first_weights_follow_the_seed_and_leave_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, same, other = (CoordinateNetwork(3, 3, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.layers[1].weight, same.layers[1].weight)
    assert not torch.equal(one.layers[1].weight, other.layers[1].weight)


def test_first_weights_of_sines_are_those_of_the_paper():
    made = CoordinateNetwork(3, 3, width=256, omega=32.0, small=1.0)
    assert made.layers[0].weight.detach().abs().max() == pytest.approx(1 / 3, rel=0.02)
    assert made.layers[1].weight.detach().abs().max() == pytest.approx(
        (6 / 256) ** 0.5 / 32, rel=0.01
    )


def test_small_scales_the_first_values():
    whole, tenth, none = (CoordinateNetwork(3, 3, small=small) for small in (1.0, 0.1, 0.0))
    torch.testing.assert_close(tenth(PLACES), 0.1 * whole(PLACES))
    assert not none(PLACES).any()


def test_an_unknown_activation_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"'tanh'.*sine.*hash"):
        CoordinateNetwork(3, 3, activation="tanh")
