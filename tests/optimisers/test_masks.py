"""What a mask leaves out does not bend the field, on phantoms with a known truth."""

import pytest
import torch

from coincide.alignment import Alignment
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

LEVELS = (Level(4, 50, 0), Level(2, 40, 0), Level(1, 30, 0))
RADIUS = 7.0  # of the lesion, mm
COSTS = {
    "mse": "compositive",
    "lncc(radius=3)": "compositive(update=1.0, field=0.5)",
    "ngf": "compositive",
    "mind_ssc": "compositive",
    "mse + 0.01*diffusion": "adam",
}


class Case:
    """A section and its deformed copy, and a lesion that only one of the two shows."""

    def __init__(self):
        self.fixed = textured((64, 64), seed=2).image
        grid = self.fixed.grid
        self.truth = smooth_displacement(grid, peak=3, sigma=10, seed=5).requires_grad_(False)
        back = self.truth.inverse().requires_grad_(False)
        self.moving = Alignment(self.fixed, self.fixed, back).warped.with_mask(None)
        self.at = torch.tensor([4.0, -2.0])
        self.inside = self.distance(self.fixed, self.at) < RADIUS
        distance = self.distance(self.fixed, self.at)
        self.around = (distance > RADIUS + 1) & (distance < RADIUS + 7)

    @staticmethod
    def distance(image: Image, centre: torch.Tensor) -> torch.Tensor:
        points = image.grid.points()[0].float().T.reshape(1, 2, *image.grid.shape)
        return (points - centre.view(1, 2, 1, 1)).norm(dim=1, keepdim=True)

    def spoiled(self, image: Image, centre: torch.Tensor) -> tuple[Image, torch.Tensor]:
        """The image with a bright blob, and the mask that leaves it out."""
        distance = self.distance(image, centre)
        blob = (0.5 - (distance - RADIUS)).clamp(0, 1)
        sick = image.with_data(image.data * (1 - blob) + 2 * blob)
        return sick, (distance > RADIUS + 1).float()

    def errors(self, fixed: Image, moving: Image, cost: str) -> tuple[float, float]:
        """Mean error around the lesion and inside it, mm."""
        result = optimise(
            fixed, moving, "displacement", objective=cost, optimiser=COSTS[cost], levels=LEVELS
        )
        with torch.no_grad():
            found = result.transform.displacement(fixed.grid)
        gap = (found - self.truth.field).norm(dim=1, keepdim=True)
        return float(gap[self.around].mean()), float(gap[self.inside].mean())


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_a_masked_lesion_does_not_bend_the_field_around_it(case, cost, which):
    fixed, moving = case.fixed, case.moving
    clean, _ = case.errors(fixed, moving, cost)
    if which == "fixed":
        fixed, mask = case.spoiled(fixed, case.at)
        masked = case.errors(fixed.with_mask(mask), moving, cost)
    else:
        there = case.truth(case.at.view(1, 1, 2)).view(2)
        moving, mask = case.spoiled(moving, there)
        masked = case.errors(fixed, moving.with_mask(mask), cost)
    spoiled = case.errors(fixed, moving, cost)
    # what is lost is less than a fifth of a voxel; unmasked, the lesion misleads by far more
    assert masked[0] < clean + 0.2
    assert spoiled[0] > masked[0] + 0.3
    # inside, where nothing was compared, the field continues what is around
    still = case.truth.field.norm(dim=1, keepdim=True)[case.inside].mean()
    assert masked[1] < 0.7 * float(still)
    assert masked[1] < 0.5 * spoiled[1]


def test_a_soft_weight_lies_between_all_and_nothing(case):
    sick, mask = case.spoiled(case.fixed, case.at)
    errors = [
        case.errors(sick.with_mask(weight + (1 - weight) * mask), case.moving, "mse")[1]
        for weight in (0.0, 0.1, 1.0)
    ]
    assert errors == sorted(errors)
    assert errors[0] + 0.5 < errors[1] < errors[2] - 0.5


def test_voxels_that_are_not_numbers_do_no_harm_under_a_mask(case):
    sick, mask = case.spoiled(case.moving, case.truth(case.at.view(1, 1, 2)).view(2))
    broken = sick.with_data(torch.where(mask > 0, sick.data, torch.nan))
    for cost in ("mse", "mind_ssc"):
        found = case.errors(case.fixed, broken.with_mask(mask), cost)
        assert found == case.errors(case.fixed, sick.with_mask(mask), cost)
