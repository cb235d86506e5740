"""Settings: what is written is what was run, and repeats it to the bit, in Python and terminal."""

import tomllib

import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.objective import objective
from coincide.output import save
from coincide.penalties.rigidity import Rigidity
from coincide.presets.preset import PRESETS, Preset, preset, read_preset
from coincide.register import register
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured

WAYS = (
    "rigid",
    "translation >> displacement",
    "displacement",
    "affine >> convex(step=2, spacing=4, reach=8, levels=1) >> displacement",
    "bspline(spacing=16) >> displacement",
    "symmetric",
    "velocity(spacing=3)",
    "convex(step=2, spacing=4, reach=8, levels=1)",
    "affine >> thin_plate(spacing=24)",
    "displacement(spacing=2) >> bspline_velocity(spacing=12)",
)
OBJECTIVES = (
    "lncc(radius=2)",
    "mse + 0.01*diffusion",
    "ngf; lncc(radius=2); 0.5*mse + ngf",
    "mind",
)
OPTIMISERS = (None, None, "adam(rate=0.1)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pair")
    phantom = textured((48, 44), seed=2)
    grid = phantom.image.grid
    truth = random_affine(grid, degrees=4, shift=3, scale=0.03, seed=1)
    truth = (truth @ smooth_displacement(grid, peak=2, sigma=8, seed=2)).requires_grad_(False)
    write_image(phantom.image, place / "fixed.nii.gz")
    moving = pulled(phantom.image, truth, grid).with_mask(None)
    write_image(moving, place / "moving.nii.gz")
    write_image(remap(moving, seed=3), place / "other.nii.gz")
    return place


def run(*arguments):
    main([str(argument) for argument in arguments])


def repeated(result, tmp_path):
    """The same run again by the terminal, from what Python wrote."""
    save(result, tmp_path / "python", report=False)
    run(
        *("register", "--settings", tmp_path / "python" / "settings.toml"),
        *("--out", tmp_path / "terminal", "--report", "False"),
    )
    return all(
        (tmp_path / "python" / name).read_bytes() == (tmp_path / "terminal" / name).read_bytes()
        for name in ("transform.h5", "inverse.h5", "warped.nii.gz")
    )


NETWORKS = ("cycle", "idir")  # which take the same hundreds of steps for any image


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in NETWORKS)) for n in PRESETS]
)
def test_the_settings_of_every_preset_repeat_the_run_to_the_bit(name, folder, tmp_path):
    moving = folder / ("other.nii.gz" if "multi" in name else "moving.nii.gz")
    result = register(folder / "fixed.nii.gz", moving, preset=name)
    assert repeated(result, tmp_path)


@pytest.mark.parametrize("number", range(10))
def test_random_settings_repeat_the_run_to_the_bit(number, folder, tmp_path):
    random = np.random.default_rng(number)
    ways = WAYS[number]
    given = {"preset": PRESETS["fast"].with_steps(4, 3, 2)}
    if "displacement" in ways or "bspline" in ways or "velocity" in ways:
        given["objective"] = str(random.choice(OBJECTIVES))
        rule = random.choice(np.array(OPTIMISERS, dtype=object))
        given["optimiser"] = None if "displacement" in ways and "mind" in ways else rule
    result = register(
        folder / "fixed.nii.gz",
        folder / "moving.nii.gz",
        ways,
        initial="search" if "affine" in ways or ways == "rigid" else "header",
        **given,
    )
    assert repeated(result, tmp_path)


def test_settings_name_the_optimiser_that_ran(folder):
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    for ways, rule in (
        ("bspline(spacing=16)", "adam(rate=0.2)"),
        ("symmetric", "syn(field=0.6)"),
        ("displacement", "compositive(update=2.0, field=1.0, gradient='moving')"),
    ):
        result = register(*pair, ways, preset=PRESETS["brain-mr"].with_steps(2, 2, 2))
        assert result.settings["levels"][0]["optimiser"] == rule
        assert result.settings["ways"] == ways


def test_settings_say_what_auto_decided(folder):
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    result = register(*pair)
    assert result.settings["preset"] == "auto"
    assert result.settings["levels"] == PRESETS["small"].to_dict()["levels"]


def test_a_start_given_as_an_object_is_written_beside_the_settings(folder, tmp_path):
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    start = register(*pair, "affine")
    result = register(*pair, "displacement", initial=start, preset=PRESETS["fast"].with_steps(3))
    assert repeated(result, tmp_path)
    assert (tmp_path / "python" / "initial.h5").exists()


def test_terms_that_hold_data_can_only_be_repeated_in_python(folder, tmp_path, capsys):
    fixed = textured((48, 44), seed=2)
    stiff = Rigidity(fixed.labels.with_data((fixed.labels.data > 1).float()))
    cost = objective("mse") + 0.1 * stiff
    files = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    result = register(*files, "displacement", objective=cost, preset=PRESETS["fast"].with_steps(2))
    assert result.settings["incomplete"] == ["mse + 0.1*rigidity"]
    save(result, tmp_path / "a", report=False)
    with pytest.raises(SystemExit):
        run("register", "--settings", tmp_path / "a" / "settings.toml", "--out", tmp_path / "b")
    assert "terms made of data in Python, mse + 0.1*rigidity" in capsys.readouterr().err


def test_arrays_are_written_beside_the_settings_and_files_are_named(folder, tmp_path):
    fixed, moving = textured((48, 44), seed=2).image, textured((48, 44), seed=3).image
    result = register(fixed, moving, "affine")
    assert result.settings["fixed"] == "fixed.nii.gz"
    assert repeated(result, tmp_path)
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    run(
        *("register", *pair, "--settings", tmp_path / "python" / "settings.toml"),
        *("--out", tmp_path / "b", "--report", "False"),
    )
    written = tomllib.loads((tmp_path / "b" / "settings.toml").read_text())
    assert written["fixed"] == str(pair[0].resolve())


MINE = """
about = "my hearts"
ways = "rigid >> displacement"
window = [-100, 300]

[[levels]]
steps = 4
objective = "ngf"

[[levels]]
steps = 3
objective = "lncc(radius=2) + 0.1*bending"
optimiser = "compositive_adam"
"""


def test_a_preset_is_a_file_that_a_user_can_write(folder, tmp_path):
    (tmp_path / "mine.toml").write_text(MINE)
    plan = read_preset(tmp_path / "mine.toml")
    assert plan.about == "my hearts"
    assert plan.window == (-100, 300)
    assert Preset.from_dict(plan.to_dict(), "it") == plan
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    out = "--out", tmp_path / "out", "--report", "False"
    run("register", *pair, "--preset", tmp_path / "mine.toml", *out)
    python = register(*pair, preset=tmp_path / "mine.toml")
    again = register(*pair, preset=tmp_path / "out" / "settings.toml")
    assert [step.cost for step in python.history] == [step.cost for step in again.history]
    assert {step.stage for step in python.history} == {"rigid", "displacement"}
    assert python.settings["levels"][1]["optimiser"] == "compositive_adam"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ways = 'affine >> bendin'", "no part is called 'bendin'"),
        ("ways = 'mse'", "is no way to a transform"),
        ("colour = 'red'", r"unknown settings \['colour'\]; a preset has about, ways, levels"),
        ("[[levels]]\nstepps = 3", "a level takes spacing, steps"),
        ("[[levels]]\nsteps = 0", "1 step or more, not 0"),
        ("[[levels]]\nobjective = 'nfg'", "no part is called 'nfg'"),
        ("[[levels]]\noptimiser = 'mse'", "'mse' is not a optimiser"),
        ("window = [3, 1]", "a window is a low and a high value"),
        ("ways =", "is not a preset"),
    ],
)
def test_a_preset_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        preset(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reads_as_it_is_written(name, tmp_path):
    import tomli_w

    path = tmp_path / "it.toml"
    path.write_text(tomli_w.dumps(PRESETS[name].to_dict()))
    assert read_preset(path) == PRESETS[name]
    assert PRESETS[name].about


def test_the_presets_are_those_that_are_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        run("register", "--help")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(name in said for name in PRESETS)


def test_what_is_given_overrules_the_settings_also_where_it_is_the_default(folder, tmp_path):
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    out = "--report", "False", "--out"
    run("register", *pair, "--preset", "brain-mr", "--initial", "header", *out, tmp_path / "a")
    settings = "--settings", tmp_path / "a" / "settings.toml"
    run("register", *settings, "--preset", "auto", "--initial", "search", *out, tmp_path / "b")
    written = tomllib.loads((tmp_path / "b" / "settings.toml").read_text())
    assert (written["preset"], written["initial"]) == ("auto", "search")
    assert written["levels"] == PRESETS["small"].to_dict()["levels"]


def test_the_warped_image_of_the_settings_is_that_of_the_run(folder):
    pair = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    one, two = (register(*pair, preset="brain-mr") for _ in range(2))
    assert torch.equal(one.warped.data, two.warped.data)
