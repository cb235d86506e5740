"""Derivatives of a transform at points: how it stretches, turns and bends space there.

Each is one function with a form for every kind of transform. A new transform needs none: the
gradient of its `forward` serves. One that knows better registers it in its own file, with
`@jacobian_at.register`.
"""

from functools import singledispatch

import torch
from torch import Tensor

from coincide.space.shapes import Points
from coincide.transforms.transform import Transform


@singledispatch
def jacobian_at(transform: Transform, points: Points) -> Tensor:
    r"""First derivatives $J_{ij} = \partial T_i / \partial x_j$, (B, P, D, D), no unit.

    Exact: in closed form for linear maps, splines and chains; of the linear interpolation for
    fields of one vector a voxel, where a point on the face between two cells takes the derivative
    of the cell after it; by autograd of `forward` for any other.

    Args:
        transform: Any.
        points: (B or 1, P, D) fixed-world positions, mm.

    Returns:
        With the dtype of the points; differentiable in the parameters.

    Raises:
        ValueError: if `forward` gives no gradient to its points.

    Example:
        >>> from coincide.transforms.linear import Affine
        >>> Affine(2 * torch.eye(4)).jacobian(points)[0, 0].detach().tolist()
        [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    """
    start = _leaf(transform, points)
    with torch.enable_grad():
        moved = transform(start)
        if not moved.requires_grad:
            raise ValueError(
                f"{type(transform).__name__}.forward gives no gradient to its points; write its "
                "derivative and register it with jacobian_at.register"
            )
        # a point moves without regard to the others, so the sum over all has the slope of each
        sums = moved.flatten(0, 1).sum(0).unbind()
    return torch.stack([_slope(one, start, transform) for one in sums], 2)


@singledispatch
def hessian_at(transform: Transform, points: Points) -> Tensor:
    r"""Second derivatives $H_{ijk} = \partial^2 T_i / \partial x_j \partial x_k$, 1/mm.

    In closed form for linear maps, splines and chains, by autograd of the Jacobian for any other.

    Args:
        transform: Any.
        points: (B or 1, P, D) fixed-world positions, mm.

    Returns:
        (B, P, D, D, D) with the dtype of the points; differentiable in the parameters.

    Raises:
        ValueError: if there is none, as for fields of one vector a voxel, which are linear between
            voxels, or at a landmark of a thin-plate spline.
    """
    start = _leaf(transform, points)
    with torch.enable_grad():
        sums = jacobian_at(transform, start).flatten(0, 1).sum(0)
        rows = [row.unbind() for row in sums.unbind()]
    return torch.stack(
        [torch.stack([_slope(one, start, transform) for one in row], 2) for row in rows], 2
    )


def without_hessian(transform: Transform) -> ValueError:
    """What to raise for a transform that is linear between voxels."""
    return ValueError(
        f"{type(transform).__name__} is linear between voxels and has no second derivative; use a "
        "bspline, or differences of its displacement on a grid: "
        "coincide.transforms.jacobian.second_derivatives"
    )


def _leaf(transform: Transform, points: Points) -> Points:
    """The points, as often as the transform has pairs, such that a gradient can be taken by them.

    If the points themselves were computed, as by the inner part of a chain, their graph is kept.
    """
    with torch.no_grad():
        batch = len(transform(points[:, :1]))
    points = points.expand(batch, *points.shape[1:])
    with torch.enable_grad():
        return points.clone() if points.requires_grad else points.detach().requires_grad_()


def _slope(total: Tensor, points: Points, transform: Transform) -> Tensor:
    """Derivative of a sum by every point, (B, P, D); zero where it does not follow the points."""
    if not total.requires_grad:
        return torch.zeros_like(points)
    parts = [*transform.parameters(), *transform.buffers()]
    wanted = not points.is_leaf or any(part.requires_grad for part in parts)
    further = torch.is_grad_enabled() and wanted
    if further and (name := _once(total)):
        raise ValueError(
            f"{type(transform).__name__} is computed by {name}, which autograd differentiates only "
            "once, and a second derivative, or a gradient through the first, would be wrong; "
            "register a form with jacobian_at.register or hessian_at.register, or ask for the "
            "Jacobian under torch.no_grad()"
        )
    (slope,) = torch.autograd.grad(
        total, points, retain_graph=True, create_graph=further, allow_unused=True
    )
    return torch.zeros_like(points) if slope is None else slope


def _once(total: Tensor) -> str:
    """The name of a compiled loop in the graph of a tensor whose backward has no graph; or "".

    torch itself complains only where the incoming gradient has a graph, and otherwise takes the
    slope for a constant.
    """
    # a walk through the graph, back from the sum to what it was computed from
    seen, ahead = set(), [total.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function = getattr(node, "_forward_cls", None)
        # the mark that once_differentiable leaves: it wraps the backward pass
        if function is not None and hasattr(function.backward, "__wrapped__"):
            return function.__name__
        ahead.extend(before for before, _ in node.next_functions)
    return ""
