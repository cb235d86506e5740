import os
import subprocess
import sys

FIRST_CALL = """
import numpy as np
import torch
from coincide.kernels.update import largest
print(largest(torch.ones(1, 3, 4, 4, 4), np.eye(3)))
"""


def test_a_second_process_finds_on_disk_what_the_first_compiled(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_CALL],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert float(done.stdout) > 1.7
        told.append("compiling" in done.stderr)
    assert told == [True, False]
