"""Job: what every peer is told, what it hands back, and how its stages are timed.

Runs in the environment of each peer, so it needs numpy alone.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Job:
    """One registration.

    Args:
        fixed: Path of the fixed image.
        moving: Path of the moving image.
        out: Folder for what is written.
        linear: What comes before the deformation: `affine`, `rigid`, or `none` where the images
            are aligned in the world already.
        contrast: `same` or `different`.
        preset: What Coincide recommends for this anatomy.
        variant: Which of its methods the peer shall use.
        threads: How many.
        seconds: Wall time of each stage.
    """

    fixed: str
    moving: str
    out: str
    linear: str
    contrast: str
    preset: str
    variant: str
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Job":
        """The job in the file named on the command line."""
        return cls(**json.loads(Path(sys.argv[1]).read_text("utf-8")))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the wall time of what runs inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def finish(self, displacement: np.ndarray, *, version: str, settings: str) -> None:
        """Hand back the result.

        Args:
            displacement: Moving point minus fixed point at every fixed voxel, linear stage
                included, (z, y, x, 3): axes reversed, LPS mm, as SimpleITK has it.
            version: Of the peer.
            settings: The call or command line, for the reader of the table.
        """
        out = Path(self.out)
        np.save(out / "displacement.npy", np.ascontiguousarray(displacement, np.float32))
        done = {"seconds": self.seconds, "version": version, "settings": settings}
        (out / "done.json").write_text(json.dumps(done), "utf-8")
