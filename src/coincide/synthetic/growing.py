"""Growing: a head whose shape follows age and person, to learn an atlas of development from."""

import math
from dataclasses import dataclass

import numpy as np

from coincide.space.image import Image
from coincide.synthetic.phantoms import centred

TISSUES = 4  # outside, fluid, grey, white
SHADES = (0.0, 1.0, 0.45, 0.75)  # of the tissues at age 0.5


@dataclass(frozen=True, eq=False)
class Grown:
    """One generated person.

    Args:
        image: Intensities, 0 to about 1.
        labels: 0 outside, 1 fluid, 2 grey, 3 white.
        age: From 0 to 1 (no unit).
    """

    image: Image
    labels: Image
    age: float


def growing(age: float, person: int, *, shape: tuple[int, int] = (48, 48), noise=0.03) -> Grown:
    r"""A slice of a head at an age: it grows, its folds deepen, its ventricles shrink.

    The outline of white matter is $r(\theta) = r_0 (1 + f \cos(k\theta + p))$, where the depth f of
    the folds grows with age, and k, p, proportions and ventricles belong to the person.

    Args:
        age: From 0 to 1.
        person: Seed of what does not change with age.
        shape: Voxels of 1 mm.
        noise: Standard deviation of the noise.
    """
    random = np.random.default_rng(person)
    wide, turn, phase = random.uniform(0.85, 1.15), random.normal(0, 0.15), random.uniform(0, 6.28)
    hollow, bright = random.uniform(0.85, 1.15), random.uniform(0.95, 1.05)
    grid = centred(shape, 1.0)
    points = grid.points()[0].reshape(*shape, 2).numpy()
    x = math.cos(turn) * points[..., 0] + math.sin(turn) * points[..., 1]
    y = math.cos(turn) * points[..., 1] - math.sin(turn) * points[..., 0]
    size = (0.28 + 0.16 * age) * min(shape)
    radius = np.hypot(x / wide, y * wide) / size
    angle = np.arctan2(y, x)
    folds = 1 + (0.02 + 0.14 * age) * np.cos(6 * angle + phase)
    labels = np.zeros(shape, np.int64)
    labels[radius < 1.0] = 1
    labels[radius < 0.9] = 2
    labels[radius < 0.66 * folds] = 3
    labels[np.hypot(x / 1.6, y) < hollow * (0.32 - 0.16 * age) * size] = 1
    shades = np.array(SHADES)
    shades[3] += 0.2 * (age - 0.5)  # white matter becomes so by myelin
    values = bright * shades[labels] + noise * random.standard_normal(shape)
    affine = grid.affine
    return Grown(Image.from_array(values, affine), Image.from_array(labels, affine), age)
