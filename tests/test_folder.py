"""The folder of a run: written by Python and by the terminal alike, and read back whole."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import coincide as co
from coincide.cli.main import main
from coincide.files.points import write_points
from coincide.presets.preset import Preset
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

FEW = Preset(
    "few steps",
    "affine >> convex(step=2, spacing=4, reach=4, levels=1) >> displacement",
    tuple(co.Level(steps=4, objective="mse") for _ in "ab"),
)


def run(*arguments):
    main([str(argument) for argument in arguments])


def refused(capsys, *arguments, code=1):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == code
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def phantom():
    return textured((48, 44), seed=2)


@pytest.fixture(scope="module")
def moving(phantom):
    grid = phantom.image.grid
    truth = smooth_displacement(grid, peak=3, sigma=8, seed=2).requires_grad_(False)
    pair = co.Alignment(phantom.image, phantom.image, truth)
    return pair.warped.with_mask(None), pair.pull(phantom.labels, interpolation="label")


@pytest.fixture(scope="module")
def arrays(phantom, moving):
    """A run of which nothing was a file."""
    grid = phantom.image.grid
    mask = torch.ones_like(phantom.image.data)
    mask[:, :, :6] = 0.25
    points = grid.to_world(np.array([[10, 12], [20, 30], [33, 14]]))
    fixed = co.Scan(phantom.image, mask=Image(mask, grid), labels=phantom.labels, points=points)
    other = co.Scan(moving[0], labels=moving[1].with_mask(None), points=points + 1.5)
    return co.register(fixed, other, preset=FEW)


@pytest.fixture
def files(phantom, moving, tmp_path):
    """The same as files."""
    place = tmp_path / "images"
    place.mkdir()
    co.write_image(phantom.image, place / "fixed.nii.gz")
    co.write_image(moving[0], place / "moving.nii.gz")
    co.write_image(phantom.labels, place / "labels.nii.gz")
    co.write_image(moving[1].with_mask(None), place / "moving_labels.nii.gz")
    write_points(phantom.image.grid.to_world(np.array([[10, 12], [20, 30]])), place / "p.csv")
    return place


def pair_of(files):
    return files / "fixed.nii.gz", files / "moving.nii.gz"


def labels_of(files):
    return (
        *("--fixed-labels", files / "labels.nii.gz"),
        *("--moving-labels", files / "moving_labels.nii.gz"),
    )


QUICK = ("--preset", "fast", "--steps", "3,2", "--initial", "header", "--report", "False")


def same_image(one, other):
    assert torch.equal(one.data, other.data)
    np.testing.assert_allclose(one.grid.affine, other.grid.affine, atol=1e-5)
    assert (one.mask is None) == (other.mask is None)
    assert one.mask is None or torch.equal(one.mask, other.mask)


def test_a_saved_run_is_given_back_whole(arrays, tmp_path):
    arrays.save(tmp_path / "d")
    back = co.load(tmp_path / "d")
    for name in ("fixed", "moving", "confidence"):
        same_image(getattr(back, name), getattr(arrays, name))
    for one, other in zip(back.labels, arrays.labels, strict=True):
        same_image(one, other)
    for one, other in zip(back.points, arrays.points, strict=True):
        np.testing.assert_array_equal(one, other)
    points = arrays.fixed.grid.points()
    for name in ("transform", "inverse"):
        with torch.no_grad():
            apart = getattr(back, name)(points) - getattr(arrays, name)(points)
        assert float(apart.abs().max()) < 1e-4
    same = {f.name for f in dataclasses.fields(arrays)} - {
        *("fixed", "moving", "confidence", "labels", "points", "transform", "inverse"),
        *("hashes", "asked"),
    }
    assert {n: getattr(back, n) for n in same} == {n: getattr(arrays, n) for n in same}
    assert {"fixed", "fixed_mask", "fixed_labels", "moving_points"} <= set(back.hashes)
    assert {"coincide", "torch", "numpy", "python"} <= set(back.versions)
    assert back.evaluate() == arrays.evaluate()
    back.save(tmp_path / "e")
    again = co.load(tmp_path / "e")
    assert again.hashes == back.hashes
    assert again.warnings == arrays.warnings


def test_python_and_the_terminal_write_the_same_folder(files, tmp_path):
    fixed, moving = pair_of(files)
    run("register", fixed, moving, *QUICK, *labels_of(files), "--out", tmp_path / "a")
    plan = co.PRESETS["fast"].with_steps(3, 2)
    result = co.register(
        co.Scan(fixed, labels=files / "labels.nii.gz"),
        co.Scan(moving, labels=files / "moving_labels.nii.gz"),
        preset=plan,
        initial="header",
    )
    co.save(result, tmp_path / "b", report=False)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {path.name for path in (tmp_path / "b").iterdir()}
    for name in names - {"result.json", "settings.toml"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    one, other = (
        {**json.loads((tmp_path / f / "result.json").read_text()), "seconds": 0, "date": 0}
        for f in "ab"
    )
    assert one == other
    one, other = (
        {**tomllib.loads((tmp_path / f / "settings.toml").read_text()), "preset": ""} for f in "ab"
    )
    assert one == other


def test_every_command_works_on_what_python_saved(arrays, tmp_path, capsys):
    co.save(arrays, tmp_path / "d")
    run("evaluate", tmp_path / "d")
    dice = arrays.evaluate().overlap.mean_dice
    assert json.loads(capsys.readouterr().out)["overlap"]["mean_dice"] == pytest.approx(dice)
    run("report", tmp_path / "d", "--out", tmp_path / "page.html")
    assert "<b>convex</b>" in (tmp_path / "page.html").read_text()
    settings = tmp_path / "d" / "settings.toml"
    run("register", "--settings", settings, "--out", tmp_path / "e", "--report", "False")
    for name in ("transform.h5", "warped.nii.gz"):
        assert (tmp_path / "d" / name).read_bytes() == (tmp_path / "e" / name).read_bytes()


def test_scores_that_are_not_computed_again_stay(files, tmp_path, capsys):
    run("register", *pair_of(files), *QUICK, "--out", tmp_path / "d")
    run("evaluate", tmp_path / "d", *labels_of(files))
    dice = json.loads((tmp_path / "d" / "scores.json").read_text())["overlap"]["mean_dice"]
    assert dice > 0.5
    run("evaluate", tmp_path / "d")
    kept = json.loads((tmp_path / "d" / "scores.json").read_text())
    assert kept["overlap"]["mean_dice"] == dice
    point = ("--fixed-points", files / "p.csv", "--moving-points", files / "p.csv")
    run("evaluate", tmp_path / "d", *point)
    kept = json.loads((tmp_path / "d" / "scores.json").read_text())
    assert kept["overlap"]["mean_dice"] == dice
    assert kept["landmarks"]["count"] == 2
    capsys.readouterr()


def test_masks_and_labels_of_the_run_are_used_again(files, tmp_path, capsys):
    mask = co.read_image(files / "fixed.nii.gz")
    half = torch.ones_like(mask.data)
    half[:, :, :20] = 0
    co.write_image(mask.with_data(half), files / "half.nii.gz")
    given = *labels_of(files), "--fixed-mask", files / "half.nii.gz"
    run("register", *pair_of(files), *QUICK, *given, "--out", tmp_path / "d")
    first = (tmp_path / "d" / "scores.json").read_text()
    capsys.readouterr()
    run("evaluate", tmp_path / "d")
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert torch.equal(co.load(tmp_path / "d").fixed.mask, half)


def test_an_input_that_changed_or_is_gone_is_told(files, tmp_path, capsys):
    run("register", *pair_of(files), *QUICK, *labels_of(files), "--out", tmp_path / "d")
    assert co.load(tmp_path / "d").warnings == ()
    image = co.read_image(files / "fixed.nii.gz")
    co.write_image(image.with_data(image.data + 1), files / "fixed.nii.gz")
    assert co.load(tmp_path / "d").warnings == (
        f"{files / 'fixed.nii.gz'} has changed since the registration was made",
    )
    capsys.readouterr()
    run("evaluate", tmp_path / "d")
    assert "note: " in capsys.readouterr().err
    (files / "labels.nii.gz").unlink()
    (note, _) = co.load(tmp_path / "d").warnings
    assert "labels.nii.gz" in note
    assert "no longer there" in note
    (files / "moving.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"moving.nii.gz, the moving of .* no longer there"):
        co.load(tmp_path / "d")


def test_an_unfinished_folder_is_not_read(arrays, tmp_path):
    arrays.save(tmp_path / "d", report=False)
    (tmp_path / "d" / "result.json").unlink()
    with pytest.raises(ValueError, match=r"no result.json, which is written last"):
        co.load(tmp_path / "d")
    with pytest.raises(ValueError, match=r"no settings.toml; give a folder that register wrote"):
        co.load(tmp_path)


def test_an_earlier_result_stays_until_all_of_the_new_one_could_be_written(
    arrays, tmp_path, monkeypatch
):
    def fails(*_):
        raise OSError("the disk is full")

    arrays.save(tmp_path / "d", report=False)
    there = sorted(path.name for path in (tmp_path / "d").iterdir())
    monkeypatch.setattr("coincide.output.write_image", fails)
    with pytest.raises(OSError, match="the disk is full"):
        arrays.save(tmp_path / "d", report=False)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == there
    co.load(tmp_path / "d")


def test_a_folder_between_two_results_is_not_taken_for_one(arrays, tmp_path, monkeypatch):
    arrays.save(tmp_path / "d", report=False)
    move = Path.replace

    def fails(path, target):
        if path.name == "warped.nii.gz" and path.parent.parent == tmp_path / "d":
            raise OSError("taken away")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="taken away"):
        arrays.save(tmp_path / "d", report=False)
    with pytest.raises(ValueError, match=r"result\.json, which is written last"):
        co.load(tmp_path / "d")


def test_another_run_is_not_written_over(arrays, files, tmp_path, capsys):
    out = tmp_path / "d"
    run("register", *pair_of(files), *QUICK, "--out", out)
    before = (out / "transform.h5").read_bytes()
    other = ("register", *pair_of(files), *QUICK, "--objective", "mse", "--out", out)
    said = refused(capsys, *other)
    assert f"{out} holds another run; choose another folder, or write over it with --force" in said
    with pytest.raises(FileExistsError, match="force=True"):
        arrays.save(out)
    assert (out / "transform.h5").read_bytes() == before
    run("register", *pair_of(files), *QUICK, "--out", out)  # the same run
    run("register", "--settings", out / "settings.toml", "--out", out, "--report", "False")
    assert (out / "transform.h5").read_bytes() == before
    image = co.read_image(files / "fixed.nii.gz")
    co.write_image(image.with_data(image.data + 1), files / "fixed.nii.gz")
    assert "holds another run" in refused(capsys, "register", *pair_of(files), *QUICK, "--out", out)
    run(*other, "--force")
    assert (out / "transform.h5").read_bytes() != before


def test_an_input_is_never_written_over(files, capsys):
    shutil.copy(files / "moving.nii.gz", files / "warped.nii.gz")
    pair = files / "fixed.nii.gz", files / "warped.nii.gz"
    said = refused(capsys, "register", *pair, *QUICK, "--out", files, "--force")
    assert "warped.nii.gz is an input of this run and would be written over" in said


def test_other_images_do_not_inherit_masks_and_labels_of_the_settings(files, tmp_path):
    run("register", *pair_of(files), *QUICK, *labels_of(files), "--out", tmp_path / "d")
    shutil.copy(files / "fixed.nii.gz", files / "another.nii.gz")
    given = files / "another.nii.gz", files / "moving.nii.gz"
    settings = "--settings", tmp_path / "d" / "settings.toml"
    mine = "--fixed-labels", files / "labels.nii.gz"
    run("register", *given, *settings, *mine, "--out", tmp_path / "e", "--report", "False")
    written = tomllib.loads((tmp_path / "e" / "settings.toml").read_text())
    assert written["moving_labels"] == str(files / "moving_labels.nii.gz")
    with pytest.raises(SystemExit):
        run("register", *given, *settings, "--out", tmp_path / "f", "--report", "False")


def test_several_channels_are_given_back(phantom, moving, tmp_path):
    two = [i.with_data(torch.cat([i.data, i.data**2], 1)) for i in (phantom.image, moving[0])]
    result = co.register(*two, "displacement", preset=FEW.with_steps(1), initial="header")
    back = co.load(result.save(tmp_path / "d", report=False))
    assert torch.equal(back.fixed.data, two[0].data)
    assert back.warnings == result.warnings


def test_a_result_put_together_by_hand_is_saved(phantom, tmp_path):
    still = smooth_displacement(phantom.image.grid, peak=0, sigma=5).requires_grad_(False)
    result = co.Registration(phantom.image, phantom.image, still, still)
    assert co.load(co.save(result, tmp_path / "d", report=False)).fixed.grid.shape == (48, 44)


def test_a_result_shows_itself_in_a_few_lines_and_a_picture(arrays):
    assert len(repr(arrays)) < 1200
    assert repr(arrays).startswith("Registration of 48 x 44 voxels of 1 x 1 mm onto 48 x 44")
    assert "data:image/png;base64," in arrays._repr_html_()
    assert arrays.status in repr(arrays)


def test_a_still_shows_both_rows_of_three_planes():
    from io import BytesIO

    from PIL import Image as Picture

    from coincide.report.planes import HEIGHT
    from coincide.still import still

    image = textured((24, 30, 20), spacing=(1.0, 1.2, 2.0), seed=1).image
    shift = smooth_displacement(image.grid, peak=6, sigma=8, seed=1).requires_grad_(False)
    result = co.Registration(image, image, shift, shift)
    picture = np.asarray(Picture.open(BytesIO(still(result))))
    assert picture.shape[0] == 2 * (HEIGHT + 2)
    before, after = np.split(picture.astype(int), 2)
    # the same image on itself is grey; displaced, green and magenta part
    assert np.abs(before[..., 0] - before[..., 1]).max() == 0
    assert np.abs(after[..., 0] - after[..., 1]).max() > 50


def test_show_says_what_to_install(arrays, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'coincide\[notebook\]'"):
        arrays.show()


def test_a_page_is_written_by_the_result(arrays, tmp_path):
    arrays.report(tmp_path / "page.html")
    assert "Dice" in (tmp_path / "page.html").read_text()


def test_the_log_tells_of_every_stage(phantom, moving, caplog):
    with caplog.at_level(logging.INFO, logger="coincide"):
        co.register(phantom.image, moving[0], preset=FEW, initial="header")
    said = " ".join(record.getMessage() for record in caplog.records)
    for stage in ("affine", "convex", "displacement, level 0: 4 steps", "displacement, level 1"):
        assert stage in said


def test_a_broken_pipe_ends_quietly(files):
    script = "import sys; from coincide.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", script, "inspect", *[str(files / "fixed.nii.gz")] * 40]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(120) == 141
    assert said == ""
