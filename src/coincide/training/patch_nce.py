"""Patch NCE: corresponding places of two images are told apart by features of their modalities."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.autoencoder import Encoder
from coincide.space.image import Image
from coincide.space.shapes import PerPair

HIDDEN = 64  # numbers of a projection


class PatchNCE(nn.Module):
    r"""Contrastive loss between the features of two modalities, each with its own frozen encoder.

    On every tap $s$ of the encoders some places of the fixed image are drawn inside the mask, and
    two small networks, the heads, project the features there of both images, $f_i$ and $w_i$,
    length 1. A place must be told from the other places of the same image:

    $$-\frac{1}{S} \sum_s \frac{1}{N} \sum_i \log
        \frac{\exp(\langle f_i, w_i \rangle / \tau)}
        {\sum_j \exp(\langle f_i, w_j \rangle / \tau)}$$

    The heads are parameters of this module: hand them to the optimiser together with those of what
    is trained by this loss. The encoders stay as they are, yet the gradient goes through them to
    the warped image.

    Args:
        fixed: Encoder of the fixed image's modality.
        moving: Encoder of the moving image's modality; of the same widths.
        points: Places of each tap.
        temperature: τ.
        foreground: Share of the largest intensity from which a voxel may be drawn.

    References:
        Park et al. (2020), arXiv:2007.15651; Dey et al. (2022), doi:10.58530/2022/3467.
    """

    def __init__(
        self,
        fixed: Encoder,
        moving: Encoder,
        *,
        points: int = 256,
        temperature: float = 0.07,
        foreground: float = 0.05,
    ):
        super().__init__()
        if fixed.widths != moving.widths or fixed.dim != moving.dim:
            raise ValueError(
                f"encoders of {fixed.dim}-D widths {fixed.widths} and {moving.dim}-D "
                f"{moving.widths} do not go together; train both alike"
            )
        self.fixed, self.moving = (each.requires_grad_(False) for each in (fixed, moving))
        self.points, self.temperature, self.foreground = points, temperature, foreground
        self.fixed_heads, self.moving_heads = (
            nn.ModuleList(_head(width) for width in fixed.widths for _ in "ab") for _ in range(2)
        )

    def forward(self, fixed: Image, warped: Image, random: torch.Generator) -> PerPair:
        """Cost of two images on one grid, (B,), least is best.

        Args:
            fixed: (B, 1, *S), from 0 to 1.
            warped: The moving image on the same grid, from 0 to 1; its mask tells where both count.
            random: Which places.
        """
        seen = (fixed.data > self.foreground * fixed.data.amax()) & (warped.weight() > 0)
        taps = zip(
            self.fixed(fixed.data),
            self.moving(warped.data),
            self.fixed_heads,
            self.moving_heads,
            strict=True,
        )
        costs = []
        for one, other, here, there in taps:
            inside = F.adaptive_max_pool3d if seen.ndim == 5 else F.adaptive_max_pool2d
            allowed = inside(seen.to(one.dtype), one.shape[2:])  # type: ignore[arg-type]
            costs.append(
                torch.stack(
                    [
                        self._told_apart(here(a), there(b))
                        for a, b in self._drawn(one, other, allowed, random)
                    ]
                )
            )
        return torch.stack(costs).mean(0)

    def _drawn(
        self, one: Tensor, other: Tensor, allowed: Tensor, random: torch.Generator
    ) -> list[tuple[Tensor, Tensor]]:
        """Features of both at the same places of each pair, (P, C) each."""
        found = []
        for a, b, inside in zip(one, other, allowed, strict=True):
            places = (inside.flatten() > 0).nonzero()[:, 0]
            if not len(places):  # nothing in view: every place is as good as another
                places = torch.arange(inside.numel(), device=inside.device)
            some = torch.randperm(len(places), generator=random)[: self.points]
            places = places[some.to(places.device)]
            found.append(tuple(each.flatten(1)[:, places].T for each in (a, b)))
        return found

    def _told_apart(self, one: Tensor, other: Tensor) -> Tensor:
        logits = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def _head(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
