import os
import subprocess
import sys

SCRIPT = """
import threading
import numba
import torch
from coincide.kernels.smooth import gaussian

image = torch.rand(1, 1, 48, 48, 48)
expected = gaussian(image, [2.0] * 3)
assert numba.threading_layer() == "workqueue"
found = []

def several():
    for _ in range(50):
        found.append(torch.equal(gaussian(image, [2.0] * 3), expected))

threads = [threading.Thread(target=several) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), all(found))
"""


def test_loops_may_be_called_from_several_threads_even_on_the_simplest_layer():
    """Without taking turns this layer ends the process."""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["150", "True"], done.stderr[-500:]
