"""Coordinate network: a smooth function of a place, held in the weights of a small network."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from coincide.networks.hash_grid import HashGrid

ACTIVATIONS = ("sine", "relu", "fourier", "hash")


class CoordinateNetwork(nn.Module):
    r"""A network from coordinates to values, with its first and second derivatives.

    $$ h_0 = x, \quad h_{l+1} = \sigma(W_l h_l + b_l), \quad f(x) = W h + b $$

    with $\sigma(z) = \sin(\omega z)$ for `"sine"`, whose every derivative is as smooth as the
    function itself. Derivatives are carried forward through the layers together with the value,

    $$ h' = \sin z, \quad t_i' = \cos z \odot \omega W t_i, \quad
       s_{ij}' = \cos z \odot \omega W s_{ij} - \sin z \odot (\omega W t_i) \odot (\omega W t_j) $$

    where $z = \omega (W h + b)$, $t_i = \partial h / \partial x_i$ and
    $s_{ij} = \partial^2 h / \partial x_i \partial x_j$: all of them by one matrix product a layer,
    and training through them takes gradients of first order only.

    Numbers are worked on in the wider of the types of `x` and of the weights.

    Args:
        given: Number of coordinates.
        made: Number of values.
        width: Of the hidden layers.
        depth: Number of hidden layers (1 or more).
        omega: How fine the function may be: frequency of the sines (`"sine"`), or spread of
            random frequencies (`"fourier"`); coordinates are thought between -1 and 1.
        activation: `"sine"`; `"relu"`; `"fourier"`: random sines of the coordinates, then relu;
            `"hash"`: features of a `HashGrid`, then relu, differentiable once.
        seed: Of the first weights; the global random state is left alone.
        small: Factor on the first weights of the last layer: 0 starts at a function that is 0.

    Raises:
        ValueError: if there is no such activation, or a size is not positive.

    References:
        Sitzmann et al. (2020), arXiv:2006.09661. Tancik et al. (2020), arXiv:2006.10739.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(
        self,
        given: int,
        made: int,
        *,
        width: int = 128,
        depth: int = 2,
        omega: float = 10.0,
        activation: str = "sine",
        seed: int = 0,
        small: float = 0.05,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"no activation is called {activation!r}; known: {ACTIVATIONS}")
        if min(given, made, width, depth) < 1 or not omega > 0:
            raise ValueError(
                "a coordinate network has at least one coordinate, value, hidden layer and number "
                f"in it, and omega above 0; given: {given}, {made}, {depth}, {width}, {omega}"
            )
        self.given, self.made, self.omega, self.activation = given, made, omega, activation
        generator = torch.Generator().manual_seed(seed)
        inner = given
        if activation == "hash":
            self.grid = HashGrid(given, generator)
            inner = self.grid.made
        elif activation == "fourier":
            drawn = torch.randn(width, given, generator=generator)
            self.register_buffer("frequencies", drawn * omega)
            self.register_buffer("phases", 2 * torch.pi * torch.rand(width, generator=generator))
            inner = width
        sizes = [inner] + [width] * depth
        self.layers = nn.ModuleList(
            _layer(a, b, generator, self._reach(a, first=n == 0))
            for n, (a, b) in enumerate(pairwise(sizes))
        )
        self.last = _layer(width, made, generator, self._reach(width, first=False))
        with torch.no_grad():
            self.last.weight.mul_(small)
            self.last.bias.mul_(small)

    def _reach(self, inner: int, *, first: bool) -> float:
        """Largest first weight of a layer with `inner` inputs."""
        if self.activation != "sine":
            return inner**-0.5
        return 1 / inner if first else (6 / inner) ** 0.5 / self.omega

    def forward(self, x: Tensor) -> Tensor:
        """Values, (..., made), at places (..., given)."""
        return self.read(self.features(x))

    def read(self, features: Tensor) -> Tensor:
        """Values, (..., made), of features (..., width + 1)."""
        return features @ self._read_out(features).T

    def features(self, x: Tensor) -> Tensor:
        """What the values are linear in, (..., width + 1): the last hidden layer and a 1."""
        flat = x.reshape(-1, self.given)
        return self.feature_jets(flat, 0)[0].reshape(*x.shape[:-1], -1)

    def jets(self, x: Tensor, order: int, along: int = 0) -> tuple[Tensor, ...]:
        """Values and derivatives at places (P, given).

        Args:
            x: Where.
            order: Of the highest derivative (0 to 2).
            along: By how many coordinates D, the first ones, it is differentiated; those behind,
                such as a time, are only told. 0: by all.

        Returns:
            (P, made), then ∂f_i/∂x_j (P, made, D), then ∂²f_i/∂x_j∂x_k (P, made, D, D).

        Raises:
            ValueError: for order 2 where the function is linear between kinks or cells.
        """
        jets = self.feature_jets(x, order, along)
        return tuple(torch.einsum("pw...,mw->pm...", jet, self._read_out(jet)) for jet in jets)

    def _read_out(self, like: Tensor) -> Tensor:
        return torch.cat([self.last.weight, self.last.bias[:, None]], 1).to(like.dtype)

    def feature_jets(self, x: Tensor, order: int, along: int = 0) -> tuple[Tensor, ...]:
        """The same of `features`: (P, F), (P, F, D) and (P, F, D, D)."""
        if order > 1 and self.activation in ("relu", "hash"):
            raise ValueError(
                f"a network of activation {self.activation!r} is linear between kinks and has no "
                "second derivative; take 'sine', or a penalty on first derivatives"
            )
        x = x.to(torch.promote_types(x.dtype, self.last.weight.dtype))
        dim = along or self.given
        channels = self._first(x, order, dim)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
            if self.activation == "sine":
                channels = _sine(channels @ (self.omega * weight).T, self.omega * bias, dim)
            else:
                channels = channels @ weight.T
                value = channels[0] + bias
                # a kink has no curvature beside it: all channels pass where the value does
                rest = channels[1:] * (value > 0).to(x.dtype)
                channels = torch.cat([value.relu()[None], rest])
        return self._unpacked(channels, order, dim)

    def _first(self, x: Tensor, order: int, dim: int) -> Tensor:
        """What enters the first layer: value, slopes and curvatures, (C, P, inputs)."""
        if self.activation == "hash":
            return torch.stack(self.grid.jets(x, order)[: 1 + dim * order])
        slopes = torch.eye(dim, self.given, dtype=x.dtype, device=x.device)[:, None]
        count, shape = dim * (dim + 1) // 2, x.shape
        parts = [x[None], slopes.expand(-1, *shape), x.new_zeros(1, 1, 1).expand(count, *shape)]
        channels = torch.cat(parts[: order + 1])
        if self.activation == "fourier":
            frequencies = self.frequencies.to(x.dtype)
            channels = _sine(channels @ frequencies.T, self.phases.to(x.dtype), dim)
        return channels

    def _unpacked(self, channels: Tensor, order: int, dim: int) -> tuple[Tensor, ...]:
        one = torch.ones_like(channels[..., :1])
        one[1:] = 0  # the constant has no derivative
        channels = torch.cat([channels, one], -1)
        jets = [channels[0]]
        if order > 0:
            jets.append(channels[1 : 1 + dim].permute(1, 2, 0))
        if order > 1:
            place = torch.zeros(dim, dim, dtype=torch.long)
            upper = torch.triu_indices(dim, dim)
            place[upper[0], upper[1]] = place[upper[1], upper[0]] = torch.arange(upper.shape[1])
            jets.append(channels[1 + dim :][place.to(channels.device)].permute(2, 3, 0, 1))
        return tuple(jets)


def _layer(inner: int, outer: int, generator: torch.Generator, reach: float) -> nn.Linear:
    """A linear layer whose weights are even in ±reach and whose bias is in ±1/√inner."""
    # made empty: the constructor would draw from the global random state
    layer = nn.Linear(inner, outer, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for held, limit in ((layer.weight, reach), (layer.bias, inner**-0.5)):
            held.copy_(limit * (2 * torch.rand(held.shape, generator=generator) - 1))
    return layer


def _sine(channels: Tensor, bias: Tensor, dim: int) -> Tensor:
    """Value, slopes and curvatures of a sine, (C, P, W), from those of its argument."""
    value = channels[0] + bias
    sine = value.sin()
    if len(channels) == 1:
        return sine[None]
    cosine = value.cos()
    slopes = channels[1 : 1 + dim]
    parts = [sine[None], cosine * slopes]
    if len(channels) > 1 + dim:
        first, second = torch.triu_indices(dim, dim)
        parts.append(cosine * channels[1 + dim :] - sine * (slopes[first] * slopes[second]))
    return torch.cat(parts)
