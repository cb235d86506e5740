"""Runs: one registration by one peer in a program of its own, measured, scored and kept."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from catalogue import peer
from environments import python
from machine import busy, machine
from measure import measure
from score import score

ENGINES = Path(__file__).parent / "engines"


@dataclass(frozen=True)
class Plan:
    """What holds for every run.

    Args:
        out: Folder of the results.
        home: Folder of the environments.
        threads: How many each peer may use.
        limit: Longest run, seconds.
    """

    out: Path
    home: Path
    threads: int = 2
    limit: float = 3600.0


def record(out: Path, name: str, case: str, repeat: int) -> Path:
    """Where a run is kept."""
    return out / "runs" / case / f"{name}-{repeat}.json"


def run(plan: Plan, case: Case, name: str, repeat: int) -> dict[str, Any]:
    """Run a peer on a case and keep what came out; a failure is kept as its reason.

    Returns:
        Case, peer, times, scores; `failed` is empty where it did not.
    """
    work = plan.out / "work" / case.name / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    row: dict[str, Any] = {"case": case.name, "peer": name, "repeat": repeat, "failed": ""}
    row |= {"threads": plan.threads, "machine": machine(), "busy": busy()}
    try:
        row.update(_registered(plan, case, name, work))
    except Exception as error:  # whatever a peer does, the others go on
        row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    path = record(plan.out, name, case.name, repeat)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1), "utf-8")
    shutil.rmtree(work)
    return row


def _registered(plan: Plan, case: Case, name: str, work: Path) -> dict[str, Any]:
    chosen, work = peer(name), work.resolve()
    job = {
        "fixed": str(case.fixed.resolve()),
        "moving": str(case.moving.resolve()),
        "out": str(work),
        "linear": case.linear,
        "contrast": case.contrast,
        "preset": case.preset,
        "variant": chosen.variant,
        "threads": plan.threads,
    }
    (work / "job.json").write_text(json.dumps(job), "utf-8")
    script = ENGINES / f"{chosen.script}.py"
    command = [str(python(chosen.environment, plan.home)), str(script), str(work / "job.json")]
    log = record(plan.out, name, case.name, 0).with_name(f"{name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    used = measure(command, work, log, threads=plan.threads, limit=plan.limit)
    if used.failure:
        return {"failed": used.failure[:200]}
    done = json.loads((work / "done.json").read_text("utf-8"))
    stages = done.pop("seconds")
    # loading the libraries and writing for the score are no part of a registration
    aside = stages.pop("import", 0.0), stages.pop("export", 0.0)
    took = asdict(used) | {"seconds": sum(stages.values()), "import": aside[0], "stages": stages}
    took.pop("failure")
    displacement = np.load(work / "displacement.npy")
    return took | done | {"scores": score(case, displacement)}
