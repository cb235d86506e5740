import json

import numpy as np
import pytest

from coincide.cli.main import main
from coincide.files.points import write_points
from coincide.files.write import write_image
from coincide.output import save
from coincide.register import register
from coincide.scan import Scan
from coincide.space.image import Image


@pytest.fixture
def run(tmp_path):
    """A run in a folder, scored by labels and landmarks that were files."""
    values = np.random.default_rng(0).random((20, 18, 16)).astype(np.float32)
    labels = np.zeros(values.shape, np.int16)
    labels[5:12, 5:12, 5:12] = 3
    scans = []
    for which in ("fixed", "moving"):
        files = {kind: tmp_path / f"{which}{kind}.nii.gz" for kind in ("", "_labels")}
        write_image(Image.from_array(values), files[""])
        write_image(Image.from_array(labels), files["_labels"])
        points = tmp_path / f"{which}_points.csv"
        write_points(np.array([[8.0, 8.0, 8.0], [9.0, 5.0, 4.0]]), points)
        scans.append(Scan(files[""], labels=files["_labels"], points=points))
    save(register(*scans, "rigid", initial="header"), tmp_path / "run", report=False)
    return tmp_path / "run"


def drawn(run, *options):
    main(["report", str(run), "--out", str(run / "report.html"), *map(str, options)])
    return (run / "report.html").read_text(encoding="utf-8")


def test_labels_and_landmarks_of_the_run_are_drawn_again(run):
    text = drawn(run)
    assert 'data-overlay="labels"' in text
    assert 'data-overlay="landmarks"' in text
    assert "moving.nii.gz → fixed.nii.gz" in text


def test_names_and_numbers_can_be_given_later(run, capsys):
    names, numbers = run / "names.csv", run / "numbers.csv"
    names.write_text("number,name\n3,liver\n")
    numbers.write_text("moving,fixed\n3,3\n")
    assert "3 liver" in drawn(run, "--label-names", names, "--moving-label-map", numbers)
    numbers.write_text("moving,fixed\n8,3\n")
    with pytest.raises(SystemExit):
        drawn(run, "--moving-label-map", numbers)
    assert "none of which is in the table of 8" in capsys.readouterr().err


def test_what_the_run_told_survives_a_new_report(run):
    record = json.loads((run / "result.json").read_text("utf-8"))
    text = drawn(run)
    assert record["candidates"]
    assert record["status"].split(",")[0] in text
    assert "gone on from" in text


def test_a_file_that_is_gone_is_said_to_be(run, capsys):
    (run.parent / "moving_labels.nii.gz").unlink()
    text = drawn(run)
    assert "moving_labels.nii.gz of" in capsys.readouterr().err
    assert 'data-overlay="labels"' not in text
    assert 'data-overlay="landmarks"' in text
