"""Structural: descriptors of a trained network, alike whatever the contrast."""

from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from coincide.features.channels import of_each
from coincide.kernels.smooth import gaussian
from coincide.networks.intensity import normalised
from coincide.networks.model_file import read_model
from coincide.networks.structural import Structural
from coincide.space.filled import filled
from coincide.space.image import Image
from coincide.space.orientation import axes

SHIPPED = "structural.safetensors"


def structural_features(
    image: Image, weights: str = "", sigma: float = 0.8, *, unit: bool = True
) -> Image:
    """Descriptors of every channel, smoothed, (B, 16 C, *S).

    Intensities are brought to [0, 1] between their percentiles; what a mask leaves out is filled
    from inside. A picture is taken for a volume of one slice. The network sees the axes in the
    order and sense of the world, however they are stored.

    Args:
        image: (B, C, *S) intensities.
        weights: File that `coincide train structural` wrote; empty: the weights that come along.
        sigma: Standard deviation of the Gaussian on the descriptors, voxels.
        unit: Whether they have length 1 again after it; otherwise they are shorter where those of
            neighbours disagree, as in noise.
    """
    network = loaded(weights, _changed(weights), image.data.device, image.data.dtype)

    def describe(one: Image) -> torch.Tensor:
        data = filled(one).data
        order, turned = axes(one.grid)
        grey = torch.stack([normalised(each) for each in data])
        grey = _turned(grey.permute(0, 1, *(2 + axis for axis in order)), turned)
        lifted = grey.reshape(*grey.shape[:2], *(1,) * (3 - one.dim), *grey.shape[2:])
        # without a graph only where none is wanted: training may go through the image
        with torch.set_grad_enabled(data.requires_grad and torch.is_grad_enabled()):
            found = network(lifted)
        found = _turned(found.reshape(*found.shape[:2], *grey.shape[2:]), turned)
        back = np.argsort(order).tolist()
        found = found.permute(0, 1, *(2 + axis for axis in back)).contiguous()
        widths = [sigma if n > 1 else 0.0 for n in one.grid.shape]
        found = gaussian(found, widths) if sigma > 0 else found
        if not unit:
            return found
        if found.requires_grad:
            return F.normalize(found, dim=1)
        return found.div_(torch.linalg.vector_norm(found, dim=1, keepdim=True).clamp_min_(1e-12))

    return of_each(image, describe)


def _turned(volume: torch.Tensor, along: list[int]) -> torch.Tensor:
    """Flipped along some dimensions; not copied where there are none."""
    return volume.flip(along) if along else volume


@cache
def loaded(weights: str, changed: int, device: torch.device, kind: torch.dtype) -> Structural:  # noqa: ARG001
    """The network of a file, frozen, on a device; read again when the file has changed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds another network.
    """
    path = weights or str(files("coincide.networks") / SHIPPED)
    state, card = read_model(path)
    if card["network"] != "structural":
        raise ValueError(f"{path} holds a network {card['network']!r}; give a structural one")
    network = Structural(**card["arguments"])
    network.load_state_dict(state)
    return network.requires_grad_(False).eval().to(device, kind)


def _changed(weights: str) -> int:
    """When a file was last written; 0 for the shipped one, and for one that is not there."""
    path = Path(weights)
    return path.stat().st_mtime_ns if weights and path.exists() else 0
