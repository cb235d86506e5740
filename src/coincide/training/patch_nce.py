"""Patch NCE: corresponding places of two images are told apart by features of their modalities."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.alignment import Alignment
from coincide.networks.autoencoder import Autoencoder, Encoder
from coincide.networks.model_file import read_model
from coincide.objective import Term
from coincide.registry import named, positive
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


@named("patch_nce")
@dataclass(frozen=True)
class PatchNCETerm(Term):
    r"""Contrastive loss between learned features of two modalities, while a predictor is trained.

    The moving image is warped, and the encoders of two autoencoders, one of each modality, say what
    they see in it and in the fixed image. Two small networks for each resolution, trained along
    with the predictor, make these comparable, and places must be told from one another by them:

    $$-\frac{1}{N} \sum_i \log \frac{\exp(\langle f_i, w_i \rangle / \tau)}
        {\sum_j \exp(\langle f_i, w_j \rangle / \tau)}$$

    As it is learned from the pairs that are trained on, it has a value in `coincide train` alone.
    It is meant to go with a measure that holds the whole in place: 0.1 of it, and 0.9 of `mi`.

    Args:
        fixed: File that `coincide train autoencoder` wrote from images of the fixed modality.
        moving: The same of the moving modality.
        points: Places of each image and resolution that are told apart.
        temperature: τ (no unit, > 0).

    References:
        Park et al. (2020), arXiv:2007.15651; Dey et al. (2022), doi:10.58530/2022/3467.
    """

    fixed: str = ""
    moving: str = ""
    points: int = 256
    temperature: float = 0.07

    def __post_init__(self):
        positive(self, "points", "temperature")

    def __call__(self, alignment: Alignment) -> PerPair:  # noqa: ARG002
        """Refused: its projections are learned with a predictor.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "patch_nce is learned while a predictor is trained, by coincide train; to align two "
            "images, take another term, such as mi or learned_metric"
        )

    def network(self, dim: int) -> PatchNCE:
        """Encoders as their files have them, and new projections.

        Args:
            dim: Axes of the images.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a file is missing, holds another network, or one for other axes.
        """
        both = [_encoder(getattr(self, which), which, dim) for which in ("fixed", "moving")]
        return PatchNCE(*both, points=self.points, temperature=self.temperature)


@dataclass(frozen=True, eq=False)
class Learned(Term):
    """A `patch_nce` with the networks that are trained along.

    Args:
        term: What was asked for.
        network: What it computes.
        random: Which places.
    """

    term: PatchNCETerm
    network: nn.Module
    random: torch.Generator

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the measure."""
        return self.term.name

    def __str__(self) -> str:
        return str(self.term)

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return self.network(alignment.fixed, alignment.warped, self.random)


def _encoder(path: str, which: str, dim: int) -> Encoder:
    if not path:
        raise ValueError(
            f"patch_nce takes an autoencoder of the {which} modality; write patch_nce("
            "fixed='t1.safetensors', moving='t2.safetensors'), files of coincide train autoencoder"
        )
    state, card = read_model(path)
    if card["network"] != "autoencoder":
        raise ValueError(
            f"{path} holds a network {card['network']!r}; give a file that coincide train "
            "autoencoder wrote"
        )
    found = Autoencoder(**card["arguments"])
    found.load_state_dict(state)
    if found.encoder.dim != dim:
        raise ValueError(
            f"{path} was made for images of {found.encoder.dim} axes, and these have {dim}"
        )
    return found.encoder.eval()


def _head(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
