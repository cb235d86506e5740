"""Atlas: train a conditional atlas of many people, and find another person in it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.atlas import ImplicitAtlas
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.training.loop import Task
from coincide.training.report import row_of_slices

TISSUE, PRIOR = 0.1, 1e-3  # weights of the cross entropy and of the length of persons
SHOWN = 4  # people in the report
STARTS = (0.2, 0.5, 0.8)  # ages from which a person is looked for


@dataclass(frozen=True, eq=False)
class Person:
    """What is known of one person.

    Args:
        image: Intensities of a range that all share.
        labels: Tissues 0 to K - 1 on the same grid.
        age: From 0 to 1.
    """

    image: Image
    labels: Image
    age: float


@dataclass(frozen=True)
class AtlasRecipe:
    """How an atlas is trained.

    Args:
        seed: Of the weights and of the places looked at.
        points: Places looked at in a step.
        latent: Numbers that describe a person.
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the detail may be.
    """

    seed: int = 0
    points: int = 4096
    latent: int = 8
    width: int = 128
    depth: int = 3
    omega: float = 15.0


class KnownPeople(nn.Module):
    """An atlas, and the numbers that describe those it was made from.

    Args:
        atlas: The network.
        count: Number of people.
    """

    def __init__(self, atlas: ImplicitAtlas, count: int):
        super().__init__()
        self.atlas = atlas
        self.people = nn.Parameter(torch.zeros(count, atlas.latent))


class AtlasTask(Task):
    r"""Intensities and tissues of random places in random people are told from place and person.

    $$ (I - \hat I)^2 + w_1\, \mathrm{CE}(\ell, \hat \ell) + w_2 |z|^2 $$

    is lowered by the weights and by the numbers z of all people at once: an auto-decoder.

    Args:
        people: On grids of one shape and place.
        tissues: Number of tissues, outside included.
        recipe: How.
        held: People that are not trained on, for validation.

    References:
        Park et al. (2019), DeepSDF, arXiv:1901.05103; Dannecker et al. (2024), arXiv:2403.08550.
    """

    network: KnownPeople

    def __init__(
        self,
        people: Sequence[Person],
        tissues: int,
        recipe: AtlasRecipe,
        *,
        held: Sequence[Person] = (),
    ):
        self.held, self.recipe, self.tissues = tuple(held), recipe, tissues
        first = people[0].image
        self.places = places_of(first.grid)
        self.values = torch.stack([p.image.data[0, 0].flatten() for p in people]).float()
        self.labels = torch.stack([p.labels.data[0, 0].flatten() for p in people])
        self.ages = torch.tensor([p.age for p in people], dtype=torch.float32)
        atlas = ImplicitAtlas(
            first.dim,
            tissues,
            latent=recipe.latent,
            width=recipe.width,
            depth=recipe.depth,
            omega=recipe.omega,
            seed=recipe.seed,
        )
        self.network = KnownPeople(atlas, len(people))
        self.settings = {**asdict(recipe), "tissues": tissues, "ages": [p.age for p in people]}

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """What one step lowers."""
        assert isinstance(network, KnownPeople)
        random = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        count = self.recipe.points
        who = torch.randint(len(self.values), (count,), generator=random)
        where = torch.randint(len(self.places), (count,), generator=random)
        value, scores = network.atlas(self.places[where], network.people[who], self.ages[who, None])
        apart = F.mse_loss(value, self.values[who, where])
        wrong = F.cross_entropy(scores, self.labels[who, where])
        length = network.people.square().sum(1).mean()
        total = apart + TISSUE * wrong + PRIOR * length
        return total, {"intensity": float(apart.detach()), "tissue": float(wrong.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Dice of tissues, and error of age, of people that it has not seen."""
        assert isinstance(network, KnownPeople)
        if not self.held:
            return {}
        found = [fitted(network.atlas, person.image) for person in self.held]
        dice = [
            tissue_dice(one.labels, p.labels, self.tissues)
            for one, p in zip(found, self.held, strict=True)
        ]
        ages = [abs(one.age - p.age) for one, p in zip(found, self.held, strict=True)]
        return {"dice": float(np.mean(dice)), "age error": float(np.mean(ages))}

    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """People that it has not seen, as they are and as the atlas shows them."""
        assert isinstance(network, KnownPeople)
        rows = []
        for person in self.held[:SHOWN]:
            found = fitted(network.atlas, person.image)
            top = float(person.image.data.max())
            grey = [image.data[0] / max(top, 1e-6) for image in (person.image, found.image)]
            tissues = [one.data[0] / self.tissues for one in (person.labels, found.labels)]
            rows.append(row_of_slices([*grey, *tissues]))
        return (
            "From left to right: a person held out, what the atlas shows of them, their tissues, "
            "and those of the atlas.",
            rows,
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A person found in an atlas.

    Args:
        person: Numbers that describe them, (latent,).
        age: Estimated, from 0 to 1.
        labels: Tissues that the atlas then shows.
        image: Intensities that it then shows.
        cost: Mean squared difference of intensities at the places looked at, and the prior.
    """

    person: Tensor
    age: float
    labels: Image
    image: Image
    cost: float


def fitted(
    atlas: ImplicitAtlas, image: Image, *, share: float = 0.5, steps: int = 120, seed: int = 0
) -> Fitted:
    """Find an unseen person, and their age, from the intensities of some voxels alone.

    The atlas stays as it is; only the numbers that describe a person, and the age, are moved, from
    three ages, of which the best end is taken.

    Args:
        atlas: Trained.
        image: Of the grid that it was trained on, in the same range of intensities.
        share: Of the voxels that are looked at, in (0, 1].
        steps: Of Adam from each age.
        seed: Of the voxels.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is a part of the voxels, above 0 and at most 1, not {share}")
    atlas = atlas.eval()
    places, values = places_of(image.grid), image.data[0, 0].flatten().float()
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(places), generator=random)[: max(1, int(share * len(places)))]
    ends = [_followed(atlas, places[chosen], values[chosen], age, steps) for age in STARTS]
    person, age, cost = min(ends, key=lambda end: end[2])
    with torch.no_grad():
        shown, scores = atlas(places, person, age)
    shape = (1, 1, *image.grid.shape)
    labels = Image(scores.argmax(1).reshape(shape), image.grid)
    return Fitted(person[0], float(age), labels, Image(shown.reshape(shape), image.grid), cost)


def places_of(grid: Grid) -> Tensor:
    """Voxels in coordinates of the atlas, (voxels, D): -1 to 1 along the longest axis."""
    offset = grid.points()[0].numpy() - grid.centre
    scaled = offset @ grid.direction / (grid.extent.max() / 2)
    return torch.as_tensor(scaled, dtype=torch.float32)


def tissue_dice(one: Image, other: Image, tissues: int) -> float:
    """Mean Dice of all tissues but the outside."""
    a, b = one.data, other.data
    found = [
        2 * float(((a == t) & (b == t)).sum()) / max(1.0, float((a == t).sum() + (b == t).sum()))
        for t in range(1, tissues)
    ]
    return float(np.mean(found))


def _followed(
    atlas: ImplicitAtlas, places: Tensor, values: Tensor, start: float, steps: int
) -> tuple[Tensor, Tensor, float]:
    person = torch.zeros(1, atlas.latent, requires_grad=True)
    age = torch.full((1, 1), start, requires_grad=True)
    rule = torch.optim.Adam([{"params": [person], "lr": 0.05}, {"params": [age], "lr": 0.02}])
    cost = torch.tensor(0.0)
    with torch.enable_grad():
        for _ in range(steps):
            shown, _ = atlas(places, person, age)
            cost = F.mse_loss(shown, values) + PRIOR * person.square().sum()
            person.grad, age.grad = torch.autograd.grad(cost, (person, age))
            rule.step()
            with torch.no_grad():
                age.clamp_(0, 1)
    return person.detach(), age.detach(), float(cost.detach())
