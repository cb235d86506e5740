"""Align: a linear map, from wherever the images are."""

import time
from dataclasses import dataclass

import numpy as np

from coincide.initialise.linear import FREEDOM, Levels, Trial, searched
from coincide.initialise.starts import Start
from coincide.objective import Similarity
from coincide.registration import Candidate
from coincide.registry import build, named
from coincide.transforms.linear import Affine, Linear
from coincide.transforms.transform import Transform
from coincide.way import Found, Pair, Watch, Way


@named("align")
@dataclass(frozen=True)
class Align(Way):
    """Linear registration: any orientation, position and size, unless a start is known.

    Without a start many are tried: header, centres, principal axes and orientations all around.
    From a start, or on top of what has been found already, the map is refined where it is.

    Args:
        kind: `translation`, `rigid`, `similarity` or `affine`.
        rotations: Number of orientations tried; 0: only header, centres and principal axes.
        similarity: What is maximised, as text; on the finest level edges (`ngf`) join it.
    """

    kind: str = "affine"
    rotations: int = 300
    similarity: str = "nmi"

    def __post_init__(self):
        if self.kind not in FREEDOM:
            raise ValueError(f"an alignment is one of {', '.join(FREEDOM)}, not {self.kind!r}")

    def refines(self, start: Transform) -> bool:
        """Linear maps are gone on from."""
        return isinstance(start, Linear)

    def __call__(
        self, pair: Pair, start: Transform | None = None, watch: Watch | None = None
    ) -> Found:
        """Find or refine the map."""
        begin = time.perf_counter()
        levels = Levels(*pair.foregrounds, build(self.similarity, Similarity), watch)
        margin, final = None, FREEDOM[self.kind][1]
        if start is None and pair.outer is None:
            trial, candidates, margin = searched(levels, self.kind, self.rotations)
            status = f"{self.kind}: {trial.start.name} was best"
        else:
            # on top of what has been found already, the identity is where to begin
            known = Affine(np.eye(pair.fixed.image.dim + 1)) if start is None else start
            assert isinstance(known, Linear)
            name = "given"
            trial = levels.finished(Trial(Start(name, known.numpy()), known), final)
            candidates = [Candidate(name, trial.cost, True, True)]
            status = f"{self.kind}: refined what was given"
        pair.under(trial.transform).overlap  # noqa: B018  refuses images that show nothing in common
        return Found(
            trial.transform,
            self,
            trial.history,
            status,
            time.perf_counter() - begin,
            tuple(candidates),
            margin,
        )
