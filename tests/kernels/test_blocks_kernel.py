import numpy as np
import pytest

from coincide.kernels.blocks import match_blocks
from worlds import noise

SHAPES = {2: (19, 22), 3: (14, 12, 13)}


def searched(
    fixed: np.ndarray,
    warped: np.ndarray,
    known: np.ndarray,
    starts: np.ndarray,
    size: tuple[int, ...],
    reach: tuple[int, ...],
) -> np.ndarray:
    """The same search with every block cut out."""
    width = tuple(2 * r + 1 for r in reach)
    scores = np.full((len(starts), *width), -1.0)
    for n, start in enumerate(starts):
        block = fixed[_box(start, size)].astype(float)
        for offset in np.ndindex(*width):
            place = start + np.array(offset) - reach
            if (place < 0).any() or (place + size > warped.shape).any():
                continue
            if known[_box(place, size)].all():
                scores[(n, *offset)] = _correlation(block, warped[_box(place, size)].astype(float))
    return scores


def _box(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(a) + n) for a, n in zip(start, size, strict=True))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """|NCC|; 0 where either does not vary."""
    one, other = one - one.mean(), other - other.mean()
    spread = (one * one).sum() * (other * other).sum()
    return abs((one * other).sum()) / np.sqrt(spread) if spread > 1e-12 * one.size**2 else 0.0


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("size", "reach"), [(4, 4), (3, 2)])
def test_scores_of_blocks_agree_with_a_search_block_by_block(dim, size, reach):
    shape = SHAPES[dim]
    fixed, warped = (noise(shape, seed=n)[0, 0] for n in (1, 2))
    warped = 0.5 * warped - 0.5 * fixed.roll(1, 0)
    warped[:4, :4] = 0.3
    known = (noise(shape, seed=3, sigma=3)[0, 0] > -1).float()
    starts = np.stack(
        np.meshgrid(*(range(0, n - size + 1, size) for n in shape), indexing="ij"), -1
    )
    starts = starts.reshape(-1, dim)
    found = match_blocks(fixed, warped, known, starts, size, reach)
    arrays = (t.numpy() for t in (fixed, warped, known > 0.5))
    expected = searched(*arrays, starts, (size,) * dim, (reach,) * dim)
    assert found.shape == expected.shape
    assert 0.05 < (expected < 0).mean() < 0.9
    assert (expected > 0.9).any()
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("sign", [-2.0, 3.0])
def test_a_block_is_found_where_it_went_whatever_its_contrast(dim, sign):
    shape = SHAPES[dim]
    fixed = noise(shape, seed=1)[0, 0]
    shift = (2, -3, 1)[:dim]
    warped = sign * fixed.roll(shift, tuple(range(dim))) + 7
    starts = np.full((1, dim), 5)
    scores = match_blocks(fixed, warped, 0 * fixed + 1, starts, 4, 4)
    best = np.array(np.unravel_index(scores[0].argmax(), scores[0].shape)) - 4
    assert tuple(best) == shift
    assert scores.max() == pytest.approx(1, abs=1e-4)
