"""Every version of every kernel computes the same, with every gradient, or says that it cannot."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from table import ROWS, SHAPES
from torch.autograd import gradcheck
from versions import agree, close, gives, made, rows_with, run, slopes, version

import coincide.kernels
from coincide.kernels.backend import backend

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
every = pytest.mark.parametrize("name", ROWS)
per_pair = pytest.mark.parametrize("name", [n for n, row in ROWS.items() if not row.together])


def test_no_function_is_left_out_of_the_table():
    folder = Path(next(iter(coincide.kernels.__path__)))
    found = set()
    for path in folder.glob("*/torch.py"):
        module = import_module(f"coincide.kernels.{path.parent.name}.torch")
        found |= {f"{path.parent.name}.{function}" for function in module.GRADIENTS}
    assert found == set(ROWS)


@pytest.mark.parametrize("name", rows_with("numba"))
@pytest.mark.parametrize("batch", [1, 2])
@both_dimensions
@precisions
def test_the_cpu_version_agrees_with_torch_in_value_and_every_gradient(name, batch, dim, dtype):
    row = ROWS[name]
    module = version(row, "numba")
    assert module is not None
    agree(row, module, made(row, dim, batch, dtype))


@every
@both_dimensions
def test_gradients_of_torch_versions_are_finite_differences(name, dim):
    row = ROWS[name]
    plain, tensors = version(row, "torch"), made(row, dim, 2, torch.float64)
    assert plain is not None
    names = gives(row, plain)
    leaves = [tensors[n].requires_grad_() for n in names]
    if leaves:  # what writes into a given array has none, which the next test sees
        assert gradcheck(
            lambda *args: tuple(
                r for r in run(row, plain, {**tensors, **dict(zip(names, args, strict=True))})
            ),
            leaves,
            fast_mode=True,
        )


@every
@both_dimensions
def test_every_gradient_is_given_or_refused_by_name(name, dim):
    """Each argument alone, so that none hides behind another."""
    row = ROWS[name]
    plain = version(row, "torch")
    assert plain is not None
    for argument in row.tensors(dim, 2, SHAPES[dim]):
        tensors = made(row, dim, 2, torch.float64)
        leaf = tensors[argument].requires_grad_()
        if argument not in gives(row, plain):
            with pytest.raises(ValueError, match=rf"{name} was given a {argument} that needs"):
                backend(name, tensors)
            continue
        found = row.call(backend(name, tensors), tensors)
        (slope,) = slopes(found, [leaf])
        (expected,) = slopes(run(row, plain, tensors), [leaf])
        close(slope, expected, 1e-8, f"the gradient to {argument}")
        with torch.no_grad():
            assert backend(name, tensors).__module__.endswith(
                "numba" if version(row, "numba") else "torch"
            )


@per_pair
@both_dimensions
def test_pairs_of_a_batch_do_not_influence_each_other(name, dim):
    row = ROWS[name]
    for kind in ("numba", "torch"):
        module = version(row, kind)
        if module is None:
            continue
        tensors, names = made(row, dim, 3, torch.float64), gives(row, module)
        leaves = [tensors[n].requires_grad_() for n in names]
        whole = run(row, module, tensors)
        each = [
            run(
                row, module, {k: v if k in row.shared else v[b : b + 1] for k, v in tensors.items()}
            )
            for b in range(3)
        ]
        parts = tuple(torch.cat(results) for results in zip(*each, strict=True))
        for one, other in zip(whole, parts, strict=True):
            close(one, other, 1e-12, "the value")
        if leaves:
            pair = slopes(whole, leaves), slopes(parts, leaves)
            for leaf, one, other in zip(names, *pair, strict=True):
                close(one, other, 1e-10, f"the gradient to {leaf}")
