"""coincide demo."""

from pathlib import Path

import torch
from tyro.conf import FlagCreatePairsOff

from coincide.alignment import pulled
from coincide.output import save
from coincide.register import register
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.icbm import icbm152, second_contrast


def demo(out: Path = Path("demo"), seed: int = 0, force: FlagCreatePairsOff[bool] = False) -> None:
    """Register two contrasts of the ICBM152 average brain under a known deformation.

    A second contrast is made from the tissue maps, moved by a known affine map and a known smooth
    deformation, and brought back. Prints the true error before and after; writes the report.

    Args:
        out: Folder to write.
        seed: Of the deformation.
        force: Write over another run in the folder.
    """
    brain = icbm152()
    moving = second_contrast(brain.grey, brain.white, brain.t1)
    truth = random_affine(moving.grid, degrees=10, shift=10, scale=0.05, seed=seed)
    truth = truth @ smooth_displacement(moving.grid, peak=8, sigma=20, seed=seed)
    truth.requires_grad_(False)
    deformed = pulled(moving, truth, moving.grid).with_mask(None)
    result = register(brain.t1, deformed)
    where = torch.nonzero((brain.grey.data + brain.white.data)[0, 0] > 0.5).numpy()[::97]
    points = torch.as_tensor(brain.t1.grid.to_world(where))[None]
    # the deformed image shows at x what was at truth(x), so the two maps together stand still
    before = (truth(points) - points).norm(dim=-1)
    after = (truth(result.transform(points)) - points).norm(dim=-1)
    save(result, out, force=force)
    print(
        f"true error before: median {float(before.median()):.2f} mm, "
        f"95th percentile {float(before.quantile(0.95)):.2f} mm"
    )
    print(
        f"true error after:  median {float(after.median()):.2f} mm, "
        f"95th percentile {float(after.quantile(0.95)):.2f} mm"
    )
    print(f"wrote {out / 'report.html'}")
