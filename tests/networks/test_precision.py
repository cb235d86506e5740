"""Precision: bfloat16 where the processor has it, else what it has."""

import pytest
import torch

from coincide.cli.main import main
from coincide.networks import precision
from coincide.networks.precision import computing, knows_bfloat16


@pytest.fixture(params=[False, True], ids=["without", "with"])
def known(request, monkeypatch) -> bool:
    monkeypatch.setattr(precision, "knows_bfloat16", lambda _: request.param)
    monkeypatch.setattr("coincide.cli.train.knows_bfloat16", lambda _: request.param)
    return request.param


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_layers_compute_in_what_was_asked_where_the_device_has_it(known, asked):
    layer = torch.nn.Linear(3, 2)
    with computing(asked, torch.device("cpu")):
        found = layer(torch.ones(1, 3)).dtype
    assert found == (torch.bfloat16 if known and asked == "bfloat16" else torch.float32)


def test_a_gpu_has_it():
    assert knows_bfloat16(torch.device("cuda"))


def test_a_training_says_where_it_has_not(known, capsys, tmp_path):
    asked = ["--precision", "bfloat16", "--out", str(tmp_path / "a.safetensors")]
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "none"), *asked])
    assert ("no instructions for bfloat16" in capsys.readouterr().out) != known
