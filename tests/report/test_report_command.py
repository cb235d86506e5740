import json
from dataclasses import replace

import numpy as np
import pytest

from coincide.cli import report as module
from coincide.cli.report import report
from coincide.files.points import write_points
from coincide.files.write import write_image
from coincide.registration import Registration
from coincide.scores.evaluate import evaluate
from coincide.space.image import Image
from coincide.transforms.linear import Affine


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A run in a folder, scored by labels and landmarks whose files are named in its settings."""
    values = np.random.default_rng(0).random((20, 18, 16)).astype(np.float32)
    labels = np.zeros(values.shape, np.int16)
    labels[5:12, 5:12, 5:12] = 3
    fixed, organs = Image.from_array(values), Image.from_array(labels)
    still = Affine(np.eye(4))
    settings = {}
    for which in ("fixed", "moving"):
        for kind, image in (("", fixed), ("_labels", organs)):
            settings[f"{which}{kind}"] = str(tmp_path / f"{which}{kind}.nii.gz")
            write_image(image, settings[f"{which}{kind}"])
        settings[f"{which}_points"] = str(tmp_path / f"{which}_points.csv")
        write_points(np.array([[8.0, 8.0, 8.0], [9.0, 5.0, 4.0]]), settings[f"{which}_points"])
    result = Registration(fixed, fixed, still, still, settings=settings)
    scores = evaluate(result, fixed_labels=organs, moving_labels=organs).to_dict()
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    monkeypatch.setattr(module, "finished", lambda _: result)
    return result


def drawn(folder, **options):
    report((folder,), out=folder / "report.html", **options)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_labels_and_landmarks_of_the_run_are_drawn_again(finished, tmp_path):
    text = drawn(tmp_path)
    assert 'data-overlay="labels"' in text
    assert 'data-overlay="landmarks"' in text
    assert "moving.nii.gz → fixed.nii.gz" in text
    assert str(tmp_path) in finished.settings["fixed"]


@pytest.mark.usefixtures("finished")
def test_names_and_numbers_can_be_given_later(tmp_path):
    names, numbers = tmp_path / "names.csv", tmp_path / "numbers.csv"
    names.write_text("number,name\n3,liver\n")
    numbers.write_text("moving,fixed\n3,3\n")
    assert "3 liver" in drawn(tmp_path, label_names=names, moving_label_map=numbers)
    numbers.write_text("moving,fixed\n8,3\n")
    with pytest.raises(ValueError, match="none of which is in the table of 8"):
        drawn(tmp_path, moving_label_map=numbers)


def test_a_file_that_is_gone_is_said_to_be(finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "moving_labels.nii.gz").unlink()
    text = drawn(tmp_path)
    assert "moving_labels.nii.gz is no longer there and not drawn" in capsys.readouterr().err
    assert 'data-overlay="labels"' not in text
    assert 'data-overlay="landmarks"' in text
    bare = replace(finished, settings={})
    monkeypatch.setattr(module, "finished", lambda _: bare)
    assert 'data-overlay="landmarks"' not in drawn(tmp_path)
