"""Tube toys: peristalsis and bulk motion, in tube coordinates, in image space, and in both.

    python benchmarks/tube_toys.py --seeds 8

Prints, for every toy and model, the mean error inside the tube of each seed, mm.
"""

import argparse
import time

import numpy as np
import torch

import coincide as co
from coincide.alignment import pulled
from coincide.kernels.smooth import gaussian
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.space.image import Image
from coincide.synthetic.phantoms import centred
from coincide.transforms.displacement import Displacement
from coincide.transforms.tube import Tube

SHAPE, RADIUS, BEND = (68, 68), 6.0, 20.0  # voxels of 1 mm; of the tube and its line, mm
MODELS = ("tube", "image", "both")


def line(grid) -> np.ndarray:
    """Three quarters of a circle, (N, 2), mm."""
    turn = np.linspace(0, 1.5 * np.pi, 60)
    return BEND * np.stack([np.cos(turn), np.sin(turn)], 1) @ grid.direction.T + grid.centre


def texture(seed: int) -> Image:
    """Smooth noise, fine and coarse, that is the same nowhere."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 1, *SHAPE)
    for sigma in (2.0, 4.0, 8.0):
        drawn = gaussian(torch.randn(1, 1, *SHAPE, generator=random), [sigma, sigma])
        total = total + drawn / drawn.std()
    return Image(total, centred(SHAPE, 1.0))


def squeezed(grid, *, depth=0.4, shift=0.05) -> Displacement:
    """Three rings of the tube that contract, and content that is pushed along it."""
    tube = Tube(line(grid), RADIUS, 1, 1, bulk=0.0).on(grid)
    points = grid.points()[0]
    place, weight = tube.inside(points)
    chosen = weight > 0
    s, across = place[chosen, :1], place[chosen, 1:]
    wave = torch.cos(1.5 * torch.pi * s) ** 2
    there = torch.cat([s + shift * torch.sin(3 * torch.pi * s), across * (1 + depth * wave)], 1)
    field = torch.zeros_like(points)
    moved = tube.frame.to_world(there) - points[chosen]
    field[chosen] = weight[chosen, None] * moved
    return Displacement(field=field.T.reshape(1, 2, *grid.shape).float(), grid=grid)


def toy(seed: int, *, bulk: float):
    """Fixed and moving image, the true displacement and the tube's voxels.

    Args:
        seed: Of the texture.
        bulk: How far the whole image is carried off sideways, mm.
    """
    moving = texture(seed)
    grid = moving.grid
    field = squeezed(grid).field.detach().clone()
    field += torch.tensor([0.3 * bulk, bulk]).view(1, 2, 1, 1)
    truth = Displacement(field=field, grid=grid).requires_grad_(False)
    fixed = pulled(moving, truth, grid).with_mask(None)
    _, weight = Tube(line(grid), RADIUS, 1, 1).on(grid).inside(grid.points()[0])
    return fixed, moving, truth, weight.reshape(grid.shape) > 0.999


def fitted(model: str, toy_of, *, steps: int, seed: int) -> float:
    """Mean error of a model inside the tube after so many steps, mm."""
    fixed, moving, truth, tube = toy_of
    transform = {
        "tube": Tube(line(fixed.grid), RADIUS, 64, omega=8.0, bulk=0.0, seed=seed),
        "both": Tube(line(fixed.grid), RADIUS, 64, omega=8.0, seed=seed),
        "image": co.build(f"siren(width=64, omega=8.0, seed={seed})"),
    }[model]
    found = optimise(
        fixed,
        moving,
        transform,
        objective="mse",
        optimiser="adam(rate=0.002)",
        levels=(Level(4, steps, 0), Level(2, steps, 0), Level(1, steps, 0)),
    ).transform
    with torch.no_grad():
        gap = found.displacement(fixed.grid) - truth.field
    return float(gap.norm(dim=1)[0][tube].mean())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=8)
    asked.add_argument("--steps", type=int, default=60)
    given = asked.parse_args()
    for name, bulk in (("peristalsis", 0.0), ("peristalsis and bulk", 5.0)):
        start = toy(0, bulk=bulk)
        still = float(start[2].field.norm(dim=1)[0][start[3]].mean())
        print(f"{name}: {still:.2f} mm before")
        for model in MODELS:
            begin = time.process_time()
            errors = [
                fitted(model, toy(seed, bulk=bulk), steps=given.steps, seed=seed)
                for seed in range(given.seeds)
            ]
            each = " ".join(f"{error:.2f}" for error in errors)
            seconds = (time.process_time() - begin) / given.seeds
            print(f"  {model:6} {np.mean(errors):.2f} mm ({each}), {seconds:.1f} s a fit")


if __name__ == "__main__":
    main()
