"""Every linear way on a real head whose pose was changed by a known map."""

import pytest
import torch

from coincide.alignment import pulled
from coincide.files.read import read_image
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registry import build
from coincide.space.image import Image
from coincide.synthetic.deformations import random_affine
from coincide.transforms.linear import Linear

pytestmark = [pytest.mark.real, pytest.mark.slow]
LEVELS = (Level(8, 60, 1e-3), Level(4, 60, 1e-3))
MANY = (Level(8, 150, 0), Level(2, 150, 0))


def gap(found: Linear, truth: Linear, fixed: Image) -> float:
    """Mean distance between where two maps send the voxels of the head, mm."""
    inside = fixed.data[0, 0].flatten() > 0.2 * fixed.data.max()
    with torch.no_grad():
        apart = found.displacement(fixed.grid) - truth.displacement(fixed.grid)
    return float(apart.norm(dim=1).flatten()[inside].mean())


@pytest.mark.parametrize(
    ("optimiser", "cost", "levels"),
    [
        ("descent", "nmi", LEVELS),
        ("conjugate", "nmi", LEVELS),
        ("gauss_newton", "mind", LEVELS),
        ("block_matching", "nmi", LEVELS),
        ("stochastic(samples=4000)", "nmi", MANY),
    ],
)
def test_t2_is_brought_back_to_t1_as_well_as_by_lbfgs(real_data, optimiser, cost, levels):
    folder = real_data / "brain_templates_mni"
    # both lie in MNI space, so across contrasts the identity is the truth
    paths = (folder / f"MNI152_{name}_2mm.nii.gz" for name in ("T1", "T2"))
    fixed, other = (read_image(path).float() for path in paths)
    truth = random_affine(fixed.grid, degrees=6, shift=8, scale=0.04, seed=1)
    truth.requires_grad_(False)
    moving = pulled(other, truth.inverse().requires_grad_(False), fixed.grid).with_mask(None)
    found = {
        name: optimise(
            fixed, moving, "affine", objective=cost, optimiser=name, levels=steps
        ).transform
        for name, steps in ((optimiser, levels), ("lbfgs", LEVELS))
    }
    left = {name: gap(transform, truth, fixed) for name, transform in found.items()}
    start = gap(build("affine").on(fixed.grid), truth, fixed)
    assert left[optimiser] < 0.3 * start
    assert left[optimiser] < left["lbfgs"] + 0.3
