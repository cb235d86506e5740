"""Loop: steps, checkpoints, curves; stopped at any time, it goes on to the bit where it was."""

import csv
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coincide.files.atomic import atomic
from coincide.training.team import assembled

CHECKPOINT, CURVES = "checkpoint.pt", "curves.csv"
SAVED = 120.0  # seconds between checkpoints
TRIED = 20  # steps after which a time limit becomes a number of steps
Best = tuple[float, int]  # the best score of a validation, and at which step


class Task(ABC):
    """What is trained, and on what; all its random numbers come from the number of the step."""

    network: nn.Module
    along: Sequence[nn.Module] = ()  # what its loss has to learn itself, and no part of the result
    settings: Mapping[str, Any]  # plain values; another task of the same settings is the same
    score: str = ""  # the number of a validation that shall rise; empty: none says it all
    total: int = 0  # losses that will be asked for, as far as the loop has said; 0: not known yet
    leads: bool = True  # whether this process writes what there is to write

    @abstractmethod
    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """What one step lowers, with gradient, and numbers to watch."""

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """How good the network is on what it is not trained on."""

    @abstractmethod
    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:
        """What it does with what it was not trained on: a sentence, and bytes (H, W, 3)."""


@dataclass(frozen=True)
class Schedule:
    """How it is trained.

    Args:
        steps: Updates of the weights; 0: as many as fit into `minutes`.
        minutes: Time, where `steps` is 0; it becomes a number of steps after a few of them.
        rate: Largest learning rate of Adam; it rises, then falls as half a cosine to 0.
        warm: Steps in which it rises.
        clip: Length that a gradient is cut to.
        average: Share of the past in the moving average of the weights, which is the result.
        validated: Steps between validations.
        patience: Validations without a better score after which it ends; 0: it goes on.
        device: A torch device.
        devices: Processes with a device each, whose gradients are averaged.
    """

    steps: int = 20_000
    minutes: float = 0.0
    rate: float = 7e-4
    warm: int = 100
    clip: float = 1.0
    average: float = 0.999
    validated: int = 1000
    patience: int = 0
    device: str = "cpu"
    devices: int = 1

    def __post_init__(self):
        if self.steps < 1 and self.minutes <= 0:
            raise ValueError("say how long to train: steps=20000, or minutes=30")
        if self.devices < 1:
            raise ValueError(f"it is trained on 1 device or more, not {self.devices}")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        rise = min(1.0, (step + 1) / self.warm)
        # how many steps fit into a time is known before the rise has ended
        done = step / self.steps if self.steps else 0.0
        return self.rate * rise * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Progress:
    """What has just happened.

    Args:
        step: Steps that are done.
        steps: Steps that there will be.
        numbers: What was watched, of the last step or of a validation.
        left: Seconds that the rest will take, estimated.
        validated: Whether the numbers are also those of a validation.
    """

    step: int
    steps: int
    numbers: dict[str, float]
    left: float
    validated: bool = False


def train(
    task: Task,
    schedule: Schedule,
    folder: Path,
    *,
    watch: Callable[[Progress], None] = print,
) -> nn.Module:
    """Train, or go on training: a folder that holds a checkpoint is gone on from.

    The folder holds `checkpoint.pt`, written every two minutes and at the end, and `curves.csv`.
    The same seed gives the same weights on the same machine, however often it was stopped. On
    several devices each process draws what it sees by itself, and only the first validates and
    writes; a step then counts for as many.

    Args:
        task: What is trained.
        schedule: How.
        folder: For checkpoints and curves.
        watch: Told every now and then.

    Returns:
        The network with the moving average of its weights.

    Raises:
        ValueError: if the folder is that of another training.
        FloatingPointError: if the loss becomes infinite or not a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    team = assembled(schedule.device, schedule.devices)
    task.leads = team.rank == 0
    network = task.network.to(team.device).train()
    averaged = deepcopy(network).requires_grad_(False)
    along = [part.to(team.device).train() for part in task.along]
    learned = [p for part in (network, *along) for p in part.parameters() if p.requires_grad]
    rule = torch.optim.Adam(learned, lr=schedule.rate, betas=(0.9, 0.99))
    parts = (network, averaged, rule, *along)
    start, schedule, best = _resumed(task, schedule, folder, parts)
    curves = _Curves(folder / CURVES, start)
    begin = saved = time.monotonic()
    step = start
    last = _stale(schedule, step, best)
    while not last and (schedule.steps == 0 or step < schedule.steps):
        if schedule.steps == 0 and step - start == TRIED:
            schedule = _counted(schedule, team.told((time.monotonic() - begin) / TRIED))
        task.total = schedule.steps * team.size
        for group in rule.param_groups:
            group["lr"] = schedule.rate_at(step)
        rule.zero_grad(set_to_none=True)
        loss, numbers = task.loss(network, step * team.size + team.rank)
        loss.backward()
        numbers = {"loss": float(team.mean(learned, loss)), **numbers}
        if not math.isfinite(numbers["loss"]):
            raise FloatingPointError(
                f"the loss became {numbers['loss']} at step {step}; train at a smaller rate"
            )
        nn.utils.clip_grad_norm_(learned, schedule.clip)
        rule.step()
        step += 1
        _averaged(averaged, network, min(schedule.average, step / (step + 10)))
        last = step == schedule.steps
        validated = step % schedule.validated == 0 or last
        if validated:
            numbers |= task.validate(averaged.eval()) if task.leads else {}
            if numbers.get(task.score, -math.inf) > best[0]:
                best = (numbers[task.score], step)
            last = bool(team.told(last or _stale(schedule, step, best)))
        if not task.leads:
            continue
        seconds = time.monotonic() - begin
        left = seconds / (step - start) * ((schedule.steps or step) - step)
        curves.add(step, numbers)
        watch(Progress(step, schedule.steps, numbers, left, validated))
        if last or (time.monotonic() - saved > SAVED and schedule.steps):
            _save(task, schedule, folder, parts, step, best)
            curves.flush()
            saved = time.monotonic()
    return averaged.eval()


def _averaged(averaged: nn.Module, network: nn.Module, share: float) -> None:
    with torch.no_grad():
        for old, new in zip(averaged.parameters(), network.parameters(), strict=True):
            old.lerp_(new, 1 - share)
        for old, new in zip(averaged.buffers(), network.buffers(), strict=True):
            old.copy_(new)


def _stale(schedule: Schedule, step: int, best: Best) -> bool:
    """Whether the score has not risen for as long as patience lasts."""
    return 0 < schedule.patience * schedule.validated <= step - best[1]


def _counted(schedule: Schedule, seconds: float) -> Schedule:
    return replace(schedule, steps=max(TRIED + 1, int(60 * schedule.minutes / seconds)))


def _described(task: Task, schedule: Schedule) -> str:
    """What must be the same for a training to be gone on with."""
    how = {
        k: v for k, v in asdict(schedule).items() if k not in ("device", "validated", "patience")
    }
    if schedule.minutes:
        how.pop("steps")
    return json.dumps({"task": dict(task.settings), "schedule": how}, sort_keys=True)


def _resumed(
    task: Task, schedule: Schedule, folder: Path, parts: Any
) -> tuple[int, Schedule, Best]:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0, schedule, (-math.inf, 0)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["described"] != _described(task, schedule):
        raise ValueError(
            f"{folder} holds another training, {state['described']}; give another folder, or "
            "delete it"
        )
    for part, values in zip(parts, state["parts"], strict=True):
        part.load_state_dict(values)
    return state["step"], replace(schedule, steps=state["steps"]), state["best"]


def _save(task: Task, schedule: Schedule, folder: Path, parts: Any, step: int, best: Best) -> None:
    state = {
        "described": _described(task, schedule),
        "parts": [part.state_dict() for part in parts],
        "step": step,
        "best": best,
        "steps": schedule.steps,
    }
    with atomic(folder / CHECKPOINT) as temporary:
        torch.save(state, temporary)


class _Curves:
    """Numbers of every step, as CSV; those after the checkpoint are made again."""

    def __init__(self, path: Path, start: int):
        self.path = path
        self.rows = [row for row in read_curves(path) if row["step"] <= start]

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        self.rows.append({"step": step, **numbers})

    def flush(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with (
            atomic(self.path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as out,
        ):
            writer = csv.DictWriter(out, names, restval="")
            writer.writeheader()
            writer.writerows(row | {"step": int(row["step"])} for row in self.rows)


def read_curves(path: Path) -> list[dict[str, float]]:
    """Numbers of every step that `train` has written; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
