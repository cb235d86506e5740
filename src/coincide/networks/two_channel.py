"""Two channels: a network that sees two patches at once and tells whether they correspond."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.lattice import SLOPE, rectified
from coincide.networks.model_file import read_model

SHIPPED = "two_channel.safetensors"
SIDE = 17  # voxels of a patch along each axis: what the layers below see
KERNELS, STEPS = (3, 3, 3, 3, 2, 1), (1, 2, 1, 2, 1, 1)
STEP = 4  # product of the steps
STRIDES = (1, 2, 4)


class TwoChannel(nn.Module):
    """Whether two patches show the same place: above 0 they do, below 0 they do not.

    The patches are the two channels of the first of six convolutions without padding, the last of
    which leaves one number for 17 voxels along each axis. Larger images give a number for every
    patch in them. A picture shown to a network of volumes is taken for a slice that goes on
    unchanged on both sides: each kernel is summed along that axis.

    After the first convolution stands the absolute value, after the others leaky rectification.
    With rectification alone 600 steps learned nothing of random contrasts.

    Args:
        dim: 2 for pictures, 3 for volumes.
        widths: Channels after each convolution but the last.

    References:
        Simonovsky et al. (2016), "A Deep Metric for Multimodal Registration",
        doi:10.1007/978-3-319-46726-9_2.
    """

    def __init__(self, dim: int = 3, widths: Sequence[int] = (16, 16, 32, 32, 32)):
        super().__init__()
        self.dim = dim
        given, made = (2, *widths), (*widths, 1)
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[dim]
        layers = [kind(a, b, k) for a, b, k in zip(given, made, KERNELS, strict=True)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def forward(self, pair: Tensor, stride: int = STEP) -> Tensor:
        """One number for every patch.

        Args:
            pair: (B, 2, *S), both images with mean 0 and variance 1; each axis 17 or longer.
            stride: Voxels between patches: 4, 2 or 1.

        Returns:
            (B, 1, *(S - 17) // stride + 1).
        """
        if stride not in STRIDES:
            raise ValueError(f"patches lie 1, 2 or 4 voxels apart, not {stride}")
        flat = self.dim - (pair.ndim - 2)
        if flat not in (0, 1):
            raise ValueError(f"a network of pictures is shown an image of {pair.ndim - 2} axes")
        convolve: Callable[..., Tensor] = F.conv2d if pair.ndim == 4 else F.conv3d
        apart, left = 1, stride  # what a layer does not step is stepped over by those after it
        for number, (layer, step) in enumerate(zip(self.layers, STEPS, strict=True)):
            assert isinstance(layer, nn.Conv2d | nn.Conv3d)
            weight = layer.weight.sum(-1) if flat else layer.weight
            taken = min(step, left)
            pair = convolve(pair, weight, layer.bias, stride=taken, dilation=apart)
            apart, left = apart * step // taken, left // taken
            if number == 0:  # whether edges rise or fall depends on the contrast, not on the place
                pair = pair.abs()
            elif number < len(self.layers) - 1:
                pair = rectified(pair)
        return pair


def metric_network(weights: str, device: torch.device, kind: torch.dtype) -> TwoChannel:
    """The network of a file, frozen; it is read again when the file has changed.

    Args:
        weights: File that `coincide train metric` wrote; empty: the weights that come along.
        device: Where it computes.
        kind: Of its numbers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds another network.
    """
    path = weights or str(files("coincide.networks") / SHIPPED)
    changed = Path(path).stat().st_mtime_ns if Path(path).exists() else 0
    return _read(path, changed, device, kind)


@cache
def _read(path: str, changed: int, device: torch.device, kind: torch.dtype) -> TwoChannel:  # noqa: ARG001
    state, card = read_model(path)
    if card["network"] != "two_channel":
        raise ValueError(f"{path} holds a network {card['network']!r}; give a two_channel one")
    network = TwoChannel(**card["arguments"])
    network.load_state_dict(state)
    return network.requires_grad_(False).eval().to(device, kind)
