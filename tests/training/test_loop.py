"""The loop: it learns, and goes on to the bit where it was stopped."""

import json
import subprocess
import sys

import pytest
import torch

from coincide.cli.main import main
from coincide.features.structural import structural_features
from coincide.files.write import write_image
from coincide.networks.model_file import read_model, weights_hash
from coincide.synthetic.phantoms import textured
from coincide.training import loop
from coincide.training.loop import CURVES, Schedule, read_curves, train
from coincide.training.structural import Recipe, StructuralTask

SMALL = Recipe(size=16, points=128)
QUICK = Schedule(steps=12, validated=6, warm=2)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("coincide.training.structural.PAIRS", 3)
    monkeypatch.setattr("coincide.training.structural.PROBES", 10)


def hashed(network) -> str:
    return weights_hash(network.state_dict())


class PowerError(Exception):
    """The power fails."""


def test_stopped_anywhere_it_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole = train(StructuralTask(SMALL), QUICK, tmp_path / "a", watch=lambda _: None)
    monkeypatch.setattr(loop, "SAVED", 0.0)

    stops: list[int] = []

    def fails(progress):
        if progress.step == stops[-1]:
            raise PowerError

    for at in (3, 8):
        stops.append(at)
        with pytest.raises(PowerError):
            train(StructuralTask(SMALL), QUICK, tmp_path / "b", watch=fails)
        saved = torch.load(tmp_path / "b" / "checkpoint.pt", weights_only=True)
        assert saved["step"] == at - 1
    parts = train(StructuralTask(SMALL), QUICK, tmp_path / "b", watch=lambda _: None)
    assert hashed(parts) == hashed(whole)
    one, other = ((tmp_path / folder / CURVES).read_text("utf-8") for folder in "ab")
    assert one == other
    steps = [row["step"] for row in read_curves(tmp_path / "a" / CURVES)]
    assert steps == list(range(1, 13))


def test_another_training_is_not_gone_on_with(tmp_path):
    train(StructuralTask(SMALL), Schedule(steps=2), tmp_path, watch=lambda _: None)
    with pytest.raises(ValueError, match="holds another training"):
        train(StructuralTask(Recipe(seed=1, size=16)), Schedule(steps=2), tmp_path)


def test_a_time_limit_becomes_a_number_of_steps(tmp_path):
    said = []
    schedule = Schedule(steps=0, minutes=1e-6)
    train(StructuralTask(SMALL), schedule, tmp_path, watch=said.append)
    assert said[-1].step == said[-1].steps == loop.TRIED + 1
    with pytest.raises(ValueError, match="say how long to train"):
        Schedule(steps=0)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path, monkeypatch):
    task = StructuralTask(SMALL)
    monkeypatch.setattr(task, "loss", lambda *_: (torch.tensor(torch.nan, requires_grad=True), {}))
    with pytest.raises(FloatingPointError, match="train at a smaller rate"):
        train(task, QUICK, tmp_path)


def test_it_ends_where_validations_bring_nothing_more(tmp_path, monkeypatch):
    task, scores, said = StructuralTask(SMALL), iter([0.1, 0.3, 0.2, 0.25, 0.9]), []
    monkeypatch.setattr(task, "validate", lambda _: {"found again": next(scores)})
    schedule = Schedule(steps=20, validated=2, warm=2, patience=2)
    train(task, schedule, tmp_path, watch=said.append)
    assert said[-1].step == 8
    # it had ended, and is not gone on with
    train(StructuralTask(SMALL), schedule, tmp_path, watch=said.append)
    assert said[-1].step == 8


LINE = """
import sys
from pathlib import Path

import torch
from torch import nn

from coincide.training.loop import Schedule, Task, train


class Line(Task):
    # a slope, learned from other places in each step

    settings = {}
    score = "near"

    def __init__(self, drawn=1):
        torch.manual_seed(0)
        self.network, self.drawn, self.asked = nn.Linear(1, 1), drawn, []

    def loss(self, network, step):
        self.asked.append(step)
        steps = range(step * self.drawn, (step + 1) * self.drawn)
        places = torch.tensor([[torch.sin(torch.tensor(7.0 * s))] for s in steps])
        return ((network(places) - 3 * places + 1) ** 2).mean(), {}

    def validate(self, network):
        return {"near": -float((network.weight - 3).abs())}

    def pictures(self, network):
        return "", []


if __name__ == "__main__":
    task = Line()
    schedule = Schedule(steps=30, rate=0.05, warm=1, validated=10, devices=2)
    network = train(task, schedule, Path(sys.argv[1]), watch=lambda _: None)
    print(task.leads, task.total, task.asked[:3], float(network.weight), float(network.bias))
"""


@pytest.mark.slow
def test_two_processes_train_as_one_does_on_what_both_see(tmp_path):
    pytest.importorskip("lightning_fabric")
    script = tmp_path / "line.py"
    script.write_text(LINE)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = sorted(line for line in done.stdout.splitlines() if line.startswith(("True", "False")))
    numbers = [line.rpartition("] ")[2] for line in told]
    assert told[0].startswith("False 60 [1, 3, 5]")
    assert told[1].startswith("True 60 [0, 2, 4]")
    assert numbers[0] == numbers[1]
    assert len(read_curves(tmp_path / "two" / CURVES)) == 30

    space: dict = {"__name__": "line"}
    exec(LINE, space)
    alone = Schedule(steps=30, rate=0.05, warm=1, validated=10)
    one = train(space["Line"](2), alone, tmp_path / "one", watch=lambda _: None)
    assert [float(n) for n in numbers[0].split()] == pytest.approx(
        [float(one.weight), float(one.bias)], abs=1e-6
    )


def test_several_devices_are_asked_for_in_words_that_say_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="1 device or more, not 0"):
        Schedule(devices=0)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ValueError, match=r"pip install 'coincide\[training\]'"):
        train(StructuralTask(SMALL), Schedule(steps=2, devices=2), tmp_path)


@pytest.mark.slow
def test_places_are_learned_and_not_their_positions(tmp_path, monkeypatch):
    """After some steps places are found again; in an unrelated image at the rate of chance."""
    monkeypatch.setattr("coincide.training.structural.PAIRS", 12)
    monkeypatch.setattr("coincide.training.structural.PROBES", 60)
    task = StructuralTask(Recipe(size=28, points=512))
    said = []
    schedule = Schedule(steps=400, validated=400, rate=2e-3, average=0.98)
    train(task, schedule, tmp_path, watch=said.append)
    after, chance = said[-1].numbers, 27 / 11**3
    assert after["found again"] > 3 * chance
    assert after["found in another"] < 2 * chance


def test_the_command_trains_on_a_folder_of_images_and_what_it_wrote_is_used(tmp_path, capsys):
    images = tmp_path / "scans"
    images.mkdir()
    image = textured((40, 38, 36), seed=1).image
    write_image(image, images / "a.nii.gz")
    write_image(textured((50, 44), seed=2).image, images / "b.png")
    out = tmp_path / "mine.safetensors"
    main(["train", "structural", "--out", str(out), "--images", str(images), "--steps", "3"])
    assert "wrote" in capsys.readouterr().out
    _, card = read_model(out)
    assert card["data"]["images"] == ["a.nii.gz", "b.png"]
    assert card["steps"] == 3
    page = out.with_suffix(".html").read_text("utf-8")
    assert page.count("<img") == 4
    assert "told apart" in page
    assert structural_features(image, str(out)).data.shape[1] == 16
    assert json.loads(json.dumps(card)) == card


def test_the_shipped_weights_are_small_and_say_what_they_are():
    from importlib.resources import files

    path = files("coincide.networks") / "structural.safetensors"
    state, card = read_model(str(path))
    assert len(path.read_bytes()) < 2_000_000
    assert card["steps"] >= 20_000
    assert card["data"]["images"] == []  # nobody's images
    assert sum(values.numel() for values in state.values()) < 400_000
