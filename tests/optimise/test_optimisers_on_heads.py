"""Every linear way on a real head whose pose was changed by a known map."""

import pytest
import torch

from coincide.alignment import Alignment, pulled
from coincide.files.read import read_image
from coincide.optimise.loop import optimise
from coincide.registry import build
from coincide.space.pyramid import Level
from coincide.synthetic.deformations import random_affine

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROUGH, FINE = Level(8, 60, 1e-3), Level(4, 60, 1e-3)


@pytest.mark.parametrize(
    ("optimiser", "cost", "levels"),
    [
        ("descent", "ngf", (ROUGH, FINE)),
        ("conjugate", "ngf", (ROUGH, FINE)),
        ("gauss_newton", "mind_ssc", (ROUGH, FINE)),
        ("block_matching", "nmi", (ROUGH, FINE)),
        ("stochastic(samples=4000)", "nmi", (Level(8, 150, 0), Level(2, 150, 0))),
    ],
)
def test_t2_is_brought_back_to_t1(real_data, optimiser, cost, levels):
    folder = real_data / "brain_templates_mni"
    # both lie in MNI space, so across contrasts the identity is the truth
    fixed, other = (
        read_image(folder / f"MNI152_{name}_2mm.nii.gz").float() for name in ("T1", "T2")
    )
    truth = random_affine(fixed.grid, degrees=6, shift=8, scale=0.04, seed=1)
    moving = pulled(other, truth.inverse().requires_grad_(False), fixed.grid).with_mask(None)
    result = optimise(fixed, moving, "affine", cost=cost, optimiser=optimiser, levels=levels)
    inside = fixed.data[0, 0].flatten() > 0.2 * fixed.data.max()
    with torch.no_grad():
        gaps = [
            (Alignment(fixed, moving, t).displacement - truth.displacement(fixed.grid))
            .norm(dim=1)
            .flatten()[inside]
            .mean()
            for t in (build("affine").on(fixed.grid), result.transform)
        ]
    assert gaps[0] > 6
    assert gaps[1] < 1.5
