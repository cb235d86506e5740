"""How a version of a kernel is held against the torch version of it."""

from importlib import import_module
from types import ModuleType

import torch
from table import ROWS, SHAPES, Row, Tensors
from torch import Tensor

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-9}


def version(row: Row, name: str) -> ModuleType | None:
    """The module of a row's kernel, if it has that version of the function."""
    kernel, function = row.name.split(".")
    try:
        module = import_module(f"coincide.kernels.{kernel}.{name}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("coincide."):
            raise
        return None
    return module if function in module.GRADIENTS else None


def rows_with(name: str) -> list[str]:
    return [r for r, row in ROWS.items() if version(row, name) is not None]


def gives(row: Row, module: ModuleType) -> tuple[str, ...]:
    return module.GRADIENTS[row.name.split(".")[1]]


def run(row: Row, module: ModuleType, tensors: Tensors) -> tuple[Tensor, ...]:
    return row.call(getattr(module, row.name.split(".")[1]), tensors)


def made(row: Row, dim: int, batch: int, dtype: torch.dtype) -> Tensors:
    """Inputs that are the same numbers in both precisions."""
    return {k: v.to(dtype) for k, v in row.tensors(dim, batch, SHAPES[dim]).items()}


def upstream(results: tuple[Tensor, ...]) -> list[Tensor]:
    """What the results receive: another number for every entry."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(r.shape, generator=generator, dtype=torch.float64) for r in results]


def slopes(results: tuple[Tensor, ...], leaves: list[Tensor]) -> list[Tensor]:
    """Gradients of a random sum of all that is differentiable."""
    ways = upstream(results)
    total = sum(
        (way.to(r.device) * r.double()).sum()
        for way, r in zip(ways, results, strict=True)
        if r.requires_grad
    )
    return list(torch.autograd.grad(total, leaves))  # type: ignore[arg-type]


def close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Equal up to a part of the largest value."""
    size = float(expected.abs().max())
    assert size > 1e-4, f"{what} shows nothing"
    gap = float((found.detach().cpu().double() - expected.detach()).abs().max())
    assert gap <= tolerance * size, f"{what} is {gap / size:.1e} of the largest off"


def agree(row: Row, module: ModuleType, tensors: Tensors, device: str = "cpu") -> None:
    """A version gives the values and the gradients of the torch version in double precision."""
    plain = version(row, "torch")
    assert plain is not None
    dtype = next(iter(tensors.values())).dtype
    names = [n for n in gives(row, module) if n in gives(row, plain)]
    assert set(names) == set(gives(row, module)), "a gradient that torch cannot check"
    here = {k: v.to(device).requires_grad_(k in names) for k, v in tensors.items()}
    there = {k: v.double().requires_grad_(k in names) for k, v in tensors.items()}
    found, expected = run(row, module, here), run(row, plain, there)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert bool(torch.isfinite(one).all())
        close(one, other, TOLERANCE[dtype], "the value")
    if names:
        pair = (slopes(r, [t[n] for n in names]) for r, t in ((found, here), (expected, there)))
        for name, one, other in zip(names, *pair, strict=True):
            assert one.dtype == dtype
            close(one, other, 20 * TOLERANCE[dtype], f"the gradient to {name}")
