"""Autoencoder: training to make the images of one modality again from few features."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coincide.networks.autoencoder import Autoencoder
from coincide.similarities.lncc import LNCC
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.noise import numbered, uniform, whole
from coincide.training.loop import Task
from coincide.training.report import row_of_slices

HELD_OUT = 10_000_000  # numbers of steps that no training reaches
SHOWN = 4  # images on the page
BATCHES = 8  # of a validation


@dataclass(frozen=True)
class AutoencoderRecipe:
    """What an autoencoder is trained on.

    Args:
        seed: Of the weights and of everything it sees.
        side: Voxels of a crop along each axis; smaller images are seen whole.
        batch: Crops of a step.
        radius: Half width of the windows of the local correlation, voxels.
    """

    seed: int = 0
    side: int = 64
    batch: int = 4
    radius: int = 3


class AutoencoderTask(Task):
    r"""Crops of the images of one modality are made again.

    What is lowered is $|I - D(E(I))|_1 + \mathrm{LNCC}(I, D(E(I)))$; crops are mirrored, made
    brighter or darker and blotted a little.

    Args:
        recipe: How it is trained.
        images: (X, Y, Z) from 0 to 1, Z = 1 for pictures; of five and more every fifth is kept
            back.
        names: What they are, for the record.

    Raises:
        ValueError: without images, or with pictures among volumes.
    """

    network: Autoencoder

    def __init__(
        self, recipe: AutoencoderRecipe, images: Sequence[Tensor], *, names: Sequence[str] = ()
    ):
        if not images:
            raise ValueError("an autoencoder learns from images of one modality; give a folder")
        flat = {image.shape[-1] == 1 for image in images}
        if len(flat) > 1:
            raise ValueError("some images are pictures, others volumes; train on one kind")
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        shown = [image[..., 0] if flat == {True} else image for image in images]
        self.held = shown[4::5]
        self.images = [image for n, image in enumerate(shown) if n % 5 != 4]
        self.network = Autoencoder(shown[0].ndim)
        self.settings = {**asdict(recipe), "images": sorted(names)}

    def card(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """What the weights are, and what they were made from."""
        about = {"network": "autoencoder", "arguments": {"dim": self.network.encoder.dim}}
        return {**about, "data": dict(self.settings), **numbers}

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """How far what is made again is from what was shown."""
        crops = self._crops(self.images, step).to(next(network.parameters()).device)
        made = network(crops)
        apart = (made - crops).abs().mean()
        grid = Grid(crops.shape[2:], np.eye(crops.ndim - 1))
        term = LNCC(radius=self.recipe.radius, floor=1e-3)
        one, other = (term.prepare(Image(data, grid)) for data in (crops, made))
        return apart + term.compare(one, other).mean(), {"apart": float(apart.detach())}

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Mean absolute difference, of images that were not trained on."""
        source, kind = (self.held, "held back") if self.held else (self.images, "the same images")
        found = []
        for number in range(BATCHES):
            crops = self._crops(source, HELD_OUT + number).to(next(network.parameters()).device)
            found.append(float((network(crops) - crops).abs().mean()))
        return {f"apart on {kind}": float(np.mean(found))}

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """Images and what was made of them."""
        rows = []
        for number in range(SHOWN):
            crops = self._crops(self.held or self.images, HELD_OUT + number)[:1]
            made = network(crops.to(next(network.parameters()).device)).cpu()
            rows.append(row_of_slices([crops[0], made[0]]))
        return "Left what was shown, right what was made again.", rows

    def _crops(self, source: Sequence[Tensor], step: int) -> Tensor:
        random = numbered(self.recipe.seed, step)
        side = [
            min(self.recipe.side, *(image.shape[a] for image in source))
            for a in range(source[0].ndim)
        ]
        found = []
        for _ in range(self.recipe.batch):
            crop = source[whole(random, 0, len(source))]
            for axis, n in enumerate(side):
                crop = crop.narrow(axis, whole(random, 0, crop.shape[axis] - n + 1), n)
            mirrored = [a for a in range(crop.ndim) if uniform(random, 0, 1) < 0.5]
            gamma = 2 ** uniform(random, -0.5, 0.5)
            crop = crop.flip(mirrored).clamp(0, 1) ** gamma
            found.append(crop + 0.02 * torch.randn(crop.shape, generator=random))
        return torch.stack(found)[:, None]
