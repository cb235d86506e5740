"""Kernels: how long each compiled loop takes, beside the time to stream the bytes that it must.

Run `python benchmarks/kernels.py`; it prints the table of docs/performance.md. Streaming is a copy
in parallel; a loop that took no longer would hide all its arithmetic behind the memory.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from machine import machine

from coincide.kernels.difference import mean_square, mean_square_force
from coincide.kernels.histogram import joint_histogram
from coincide.kernels.interpolate import prefilter
from coincide.kernels.lncc import decorrelation
from coincide.kernels.memory import keep_memory
from coincide.kernels.mind import descriptors
from coincide.kernels.smooth import gaussian
from coincide.kernels.spans import support
from coincide.kernels.update import compose, force, largest
from coincide.kernels.warp import force_along, warp
from coincide.synthetic.phantoms import textured

PAIRS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]])
RADIUS = (4, 4, 4)


@numba.njit(parallel=True)
def copied(source, target):
    """What streaming means."""
    for i in numba.prange(len(source)):
        target[i] = source[i]


def tasks(side: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Numbers of four bytes that each loop reads or writes per voxel, and the loop."""
    shape = (side,) * 3
    fixed, moving = (textured(shape, seed).image.data for seed in (1, 2))
    generator = torch.Generator().manual_seed(0)
    field = gaussian(torch.randn(1, 3, *shape, generator=generator), [4.0] * 3).mul_(20)
    mask, metric = torch.ones_like(fixed), np.eye(3)
    index, scale, spans = np.eye(3, 4), np.eye(3), support(fixed, RADIUS)
    forces, moved = torch.empty_like(field), torch.empty_like(field)
    buffers = torch.empty_like(fixed), torch.empty_like(fixed)
    channels = [i.repeat(1, 6, 1, 1, 1) for i in (fixed, moving)]
    bins = [i.mul(40 / float(i.max())).add(2) for i in (fixed, moving)]

    def with_gradient(measure: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        leaf = moving.clone().requires_grad_()
        return lambda: torch.autograd.grad(measure(leaf).sum(), leaf)

    def histogram(warped: torch.Tensor) -> torch.Tensor:
        return joint_histogram(bins[0], warped.mul(0.1).add(3), mask, 48).square()

    return {
        "warp": (5, lambda: warp(moving, field, index, scale, out=buffers)),
        "warp, where the fixed image is": (
            5,
            lambda: warp(moving, field, index, scale, spans=spans, out=buffers),
        ),
        "force of the warped image": (5, lambda: force(fixed, moving, metric, out=forces)),
        "force of the moving image": (
            8,
            lambda: force_along(fixed, moving, field, metric, spans=spans, out=forces),
        ),
        "LNCC and its gradient": (
            4,
            with_gradient(lambda w: decorrelation(fixed, w, mask, RADIUS, 1e-5)),
        ),
        "squared difference and its gradient": (
            4,
            with_gradient(lambda w: mean_square(fixed, w, mask)),
        ),
        "squared difference of 6 channels and its force": (
            16,
            lambda: mean_square_force(*channels, mask, metric, out=forces),
        ),
        "joint histogram and its gradient": (4, with_gradient(histogram)),
        "MIND, 6 channels": (7, lambda: descriptors(fixed, 0 * PAIRS, PAIRS, 1, 1e-3)),
        "Gaussian of 3 components, 0.5 voxels": (6, lambda: gaussian(field, [0.5] * 3, out=moved)),
        "Gaussian of 3 components, 1 voxel": (6, lambda: gaussian(field, [1.0] * 3, out=moved)),
        "Gaussian of 3 components, 2 voxels": (6, lambda: gaussian(field, [2.0] * 3, out=moved)),
        "composition": (9, lambda: compose(field, forces, 0.1, out=moved)),
        "largest vector": (3, lambda: largest(field, metric)),
        "spline coefficients": (2, lambda: prefilter(buffers[0][0].numpy())),
    }


def milliseconds(task: Callable[[], object], repeats: int) -> float:
    """Median of the repeats, after one to warm up."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=160, help="voxels along each axis")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    count = given.threads
    numba.set_num_threads(count)
    torch.set_num_threads(count)
    keep_memory()
    voxels = given.side**3
    source = np.ones((given.side, given.side**2 * 16), np.float32)
    target = np.zeros_like(source)
    copy = milliseconds(lambda: copied(source, target), given.repeats)
    each = 1e6 * copy / (2 * source.size)  # ns to read or write one number of four bytes
    print(f"{machine()}, {count} threads, {given.side}³ voxels, copies {4 / each:.0f} GB/s\n")
    print("| loop | ns a voxel | to stream its bytes | ratio |\n|---|---|---|---|")
    for name, (numbers, task) in tasks(given.side).items():
        spent, least = 1e6 * milliseconds(task, given.repeats) / voxels, numbers * each
        print(f"| {name} | {spent:.2f} | {least:.2f} | {spent / least:.1f} |")


if __name__ == "__main__":
    main()
