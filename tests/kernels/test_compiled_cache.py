import subprocess
import sys

FIRST_CALLS = """
import time
import torch
import coincide.kernels.lncc, coincide.kernels.warp
from coincide.kernels.lncc import decorrelation
from coincide.kernels.warp import warp
import numpy as np

volume = torch.rand(1, 1, 8, 8, 8)
field = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
begin = time.perf_counter()
warped, valid = warp(volume, field, np.eye(3, 4), np.eye(3))
decorrelation(volume, warped, valid, (1, 1, 1), 1e-5).sum().backward()
print(time.perf_counter() - begin)
"""


def test_a_second_process_loads_the_compiled_loops_from_disk():
    # the first process compiles what is missing, the second must not
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, check=True
        )
    assert "compiling" not in done.stderr
    assert float(done.stdout) < 2.0, "compiling these loops takes more than ten seconds"
