"""Consistency: two displacements, there and back, made to undo each other."""

from coincide.kernels.warp import warp
from coincide.space.grid import Grid
from coincide.space.shapes import Field


def consistent(there: Field, back: Field, grid: Grid, *, rounds: int = 15) -> tuple[Field, Field]:
    r"""Fixed-point symmetrisation of a forward and a backward displacement.

    $$u \leftarrow \tfrac12 \big(u - v \circ (\mathrm{id} + u)\big), \qquad
    v \leftarrow \tfrac12 \big(v - u \circ (\mathrm{id} + v)\big)$$

    Where the two disagree, which is where one of them has no good match, both become small.

    Args:
        there: u, (1, D, *N), mm.
        back: v, (1, D, *N), mm, on the same grid.
        grid: Where both lie; the border is continued outside.
        rounds: Number of iterations.

    References:
        Siebert et al. (2021), doi:10.1007/978-3-030-97281-3_25.
    """
    for _ in range(rounds):
        # both from the old pair: neither direction goes first
        there, back = (
            0.5 * (there - _at(back, there, grid)),
            0.5 * (back - _at(there, back, grid)),
        )
    return there, back


def _at(field: Field, inner: Field, grid: Grid) -> Field:
    """Field(x + inner(x)) at the voxels of the grid that both lie on."""
    inverse = grid.inverse[:-1, :-1]
    return warp(field, inner, grid.index_in(grid)[:-1], inverse, clamp=True)[0]
