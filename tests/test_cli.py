"""The command line, from files to files."""

import json
import tomllib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.alignment import pulled
from coincide.cli.main import COMMANDS, main
from coincide.files.itk import read_transform
from coincide.files.points import read_points, write_points
from coincide.files.read import read_image, read_labels
from coincide.files.write import write_image
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured

FILES = {"inverse.h5", "report.html", "scores.json", "settings.toml", "transform.h5"} | {
    "result.json",
    "warped.nii.gz",
}


def coincide(*arguments):
    main([str(argument) for argument in arguments])


def refused(capsys, *arguments, code=1):
    """What stderr says of a command that must fail."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        coincide(*arguments)
    assert stopped.value.code == code
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pair with labels and landmarks, in a folder with an awkward name."""
    place = tmp_path_factory.mktemp("données de l'essai äß 脑")
    phantom = textured((32, 30, 28), spacing=(1.0, 1.1, 1.3))
    grid = phantom.image.grid
    truth = random_affine(grid, degrees=2, shift=1, scale=0.02, seed=1)
    truth = truth @ smooth_displacement(grid, peak=2, sigma=8, seed=2)
    truth.requires_grad_(False)
    moving = pulled(phantom.image, truth, grid).with_mask(None)
    write_image(phantom.image, place / "fixed image.nii.gz")
    write_image(moving, place / "moving image.nii.gz")
    write_image(phantom.labels, place / "fixed labels.nii.gz")
    where = torch.nonzero(phantom.labels.data[0, 0] > 1).numpy()[::61]
    points = grid.to_world(where)
    # what lies at x in the moving image was at truth(x) in the fixed one
    write_points(points, place / "moving points.csv")
    write_points(truth(torch.as_tensor(points)[None])[0].numpy(), place / "fixed points.csv")
    write_image(
        pulled(phantom.labels, truth, grid, interpolation="nearest").with_mask(None),
        place / "moving labels.nii.gz",
    )
    return place


@pytest.fixture(scope="module")
def run(folder):
    out = folder / "a run ü"
    coincide(
        *("register", folder / "fixed image.nii.gz", folder / "moving image.nii.gz"),
        *("--initial", "header", "--preset", "brain-mr", "--out", out),
    )
    return out


@pytest.fixture(scope="module")
def symmetric(folder):
    out = folder / "a symmetric run"
    coincide(
        *("register", folder / "fixed image.nii.gz", folder / "moving image.nii.gz"),
        *("--initial", "header", "--preset", "brain-mr", "--out", out),
        *("--ways", "symmetric", "--report", "False"),
    )
    return out


def details(out):
    """What every way says of itself, for who tunes it."""
    return "; ".join(json.loads((out / "result.json").read_text())["details"])


def world(folder):
    """Points of the fixed image, LPS as ITK has them."""
    return read_points(folder / "fixed points.csv") * [-1, -1, 1]


def test_register_writes_seven_files(run):
    assert {p.name for p in run.iterdir()} == FILES
    scores = json.loads((run / "scores.json").read_text())
    assert scores["regularity"]["folding_percent"] == 0
    assert scores["inverse"]["inverse_residual_median_mm"] < 0.1
    assert scores["overlap"] is None
    assert "<html" in (run / "report.html").read_text()[:500]
    settings = tomllib.loads((run / "settings.toml").read_text())
    assert settings["preset"] == "brain-mr"
    assert settings["fixed"].endswith("fixed image.nii.gz")


def test_simpleitk_applies_the_transform(folder, run):
    fixed, moving = (sitk.ReadImage(str(folder / f"{n} image.nii.gz")) for n in ("fixed", "moving"))
    theirs = sitk.Resample(
        moving, fixed, sitk.ReadTransform(str(run / "transform.h5")), sitk.sitkLinear, 0.0
    )
    theirs = sitk.GetArrayFromImage(theirs).T
    ours = nib.load(run / "warped.nii.gz").get_fdata()
    # how far an image reaches beyond its last voxel centres is a matter of taste
    inner = (slice(3, -3),) * 3
    apart = np.abs(theirs - ours)[inner].max()
    assert apart < 1e-3 * np.ptp(ours)
    still = np.abs(sitk.GetArrayFromImage(moving).T - ours)[inner].max()
    assert still > 0.1 * np.ptp(ours)


def test_simpleitk_brings_points_back(folder, run):
    there = sitk.ReadTransform(str(run / "transform.h5"))
    back = sitk.ReadTransform(str(run / "inverse.h5"))
    points = world(folder)
    moved = np.array([there.TransformPoint(p.tolist()) for p in points])
    returned = np.array([back.TransformPoint(p.tolist()) for p in moved])
    assert np.median(np.linalg.norm(returned - points, axis=1)) < 0.1
    assert np.median(np.linalg.norm(moved - points, axis=1)) > 0.5
    ours = read_transform(run / "transform.h5")(torch.as_tensor(points * [-1, -1, 1])[None])
    np.testing.assert_allclose(ours[0].detach().numpy() * [-1, -1, 1], moved, atol=0.01)


def test_an_excluded_lesion_does_not_mislead(folder):
    fixed = read_image(folder / "fixed image.nii.gz")
    truth, moved = (read_points(folder / f"{n} points.csv") for n in ("fixed", "moving"))
    gap = fixed.grid.points()[0].reshape(*fixed.grid.shape, 3)
    lesion = ((gap - torch.tensor([4.0, 0, 0])).norm(dim=-1) < 5)[None, None]
    write_image(
        fixed.with_data(torch.where(lesion, 3 * fixed.data.max(), fixed.data)),
        folder / "sick.nii.gz",
    )
    write_image(fixed.with_data(lesion.to(torch.int16)), folder / "lesion.nii.gz")
    errors = {}
    for name, options in (("plain", ()), ("out", ("--fixed-exclude", folder / "lesion.nii.gz"))):
        coincide(
            *("register", folder / "sick.nii.gz", folder / "moving image.nii.gz", *options),
            *("--initial", "header", "--preset", "brain-mr", "--objective", "mse"),
            *("--out", folder / name, "--report", "False"),
        )
        transform = read_transform(folder / name / "transform.h5")
        found = transform(torch.as_tensor(truth)[None])[0].detach().numpy()
        errors[name] = np.linalg.norm(found - moved, axis=1).mean()
    assert errors["out"] < 0.7 * errors["plain"]
    settings = tomllib.loads((folder / "out" / "settings.toml").read_text())
    assert settings["fixed_exclude"].endswith("lesion.nii.gz")


def test_a_symmetric_transform_is_read_by_simpleitk(folder, symmetric):
    test_simpleitk_applies_the_transform(folder, symmetric)
    test_simpleitk_brings_points_back(folder, symmetric)
    names = [type(part).__name__ for part in read_transform(symmetric / "transform.h5")]
    assert names == ["Affine", "Symmetric"]  # the header, and what was found on top of it


def test_settings_repeat_the_run(folder, run):
    again = folder / "again"
    coincide("register", "--settings", run / "settings.toml", "--out", again, "--report", "False")
    assert {p.name for p in again.iterdir()} == FILES - {"report.html"}
    for name in ("transform.h5", "inverse.h5", "warped.nii.gz", "scores.json"):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name


def test_a_search_is_run_kept_and_left_out_again(folder, run, capsys):
    out, text = folder / "searched", "convex(spacing=6, reach=6, step=3) >> displacement"
    coincide("register", "--settings", run / "settings.toml", "--ways", text, "--out", out)
    assert "Searched for large motion, then deformed" in capsys.readouterr().out
    assert "convex: 0." in details(out)
    assert tomllib.loads((out / "settings.toml").read_text())["ways"] == text
    assert "<b>convex</b>" in (out / "report.html").read_text()
    coincide(
        *("register", "--settings", out / "settings.toml", "--ways", "displacement"),
        *("--out", out, "--report", "False", "--force"),
    )
    assert "convex" not in details(out)


def test_an_option_overrules_the_settings(folder, run):
    again = folder / "linear"
    coincide(
        *("register", "--settings", run / "settings.toml", "--out", again),
        *("--preset", "rigid", "--report", "False"),
    )
    assert read_transform(again / "transform.h5").name == "rigid"


def test_levels_are_set_one_by_one(folder, tmp_path, capsys):
    given = ("--steps", "6,4", "--objective", "mse; ngf", "--preset", "brain-mr")
    images = (folder / "fixed image.nii.gz", folder / "moving image.nii.gz")
    out = ("--initial", "header", "--out", tmp_path, "--report", "False")
    coincide("register", *images, *given, *out)
    assert "level 0 used its 6 steps, level 1 used its 4 steps" in details(tmp_path)
    settings = tomllib.loads((tmp_path / "settings.toml").read_text())
    found = [(level["steps"], level["objective"]) for level in settings["levels"]]
    assert found == [(6, "mse"), (4, "ngf")]
    with pytest.raises(SystemExit):
        coincide("register", *images, "--steps", "many", *out)
    with pytest.raises(SystemExit):
        coincide("register", *images, "--objective", "mse", "--preset", "rigid", *out)
    errors = capsys.readouterr().err
    assert "an objective is that of a deformation, and 'rigid' optimises none" in errors
    assert "steps are numbers, such as \"50,30,10\", not 'many'" in errors


@pytest.mark.parametrize(
    ("term", "files", "scores"),
    [("labels", "labels.nii.gz", "overlap"), ("landmarks", "points.csv", "landmarks")],
)
def test_labels_and_landmarks_take_part(folder, run, tmp_path, capsys, term, files, scores):
    kind = files.split(".")[0]
    given = [(f"--{which}-{kind}", folder / f"{which} {files}") for which in ("fixed", "moving")]
    coincide(
        *("register", folder / "fixed image.nii.gz", folder / "moving image.nii.gz"),
        *("--initial", "header", "--preset", "brain-mr", "--out", tmp_path, "--report", "False"),
        *("--objective", f"lncc(radius=3) + {term}", *given[0], *given[1]),
    )
    assert f"note: the {term} take part, so their scores flatter" in capsys.readouterr().err
    settings = tomllib.loads((tmp_path / "settings.toml").read_text())
    assert settings["levels"][0]["objective"] == f"lncc(radius=3) + {term}"
    found = json.loads((tmp_path / "scores.json").read_text())[scores]
    coincide("evaluate", run, *given[0], *given[1])
    plain = json.loads(capsys.readouterr().out)[scores]
    if scores == "overlap":
        assert found["mean_dice"] > plain["mean_dice"]
    else:
        assert found["tre_mean_mm"] < plain["tre_mean_mm"]


@pytest.mark.parametrize(("term", "kind"), [("labels", "labels"), ("landmarks", "points")])
def test_a_term_without_its_files_is_refused(folder, capsys, tmp_path, term, kind):
    message = refused(
        capsys,
        *("register", folder / "fixed image.nii.gz", folder / "moving image.nii.gz"),
        *("--out", tmp_path / "out", "--objective", f"mse + 0.5*{term}"),
    )
    assert f"has the term '{term}' but was not given the {term} of both images" in message
    assert f"--fixed-{kind} and --moving-{kind}" in message
    assert not (tmp_path / "out").exists()


def test_warp_an_image(folder, run, tmp_path):
    coincide(
        *("warp", folder / "moving image.nii.gz", run / "transform.h5"),
        *("--on", folder / "fixed image.nii.gz", "--out", tmp_path / "w.nii.gz"),
    )
    mine, theirs = (nib.load(p).get_fdata() for p in (tmp_path / "w.nii.gz", run / "warped.nii.gz"))
    np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_warp_labels(folder, run, tmp_path):
    fixed = read_labels(folder / "fixed labels.nii.gz").numpy()
    moving = read_labels(folder / "moving labels.nii.gz").numpy()
    coincide(
        *("warp", folder / "moving labels.nii.gz", run / "transform.h5", "--interpolation"),
        *("label", "--on", folder / "fixed image.nii.gz", "--out", tmp_path / "w.nii.gz"),
    )
    warped = read_labels(tmp_path / "w.nii.gz").numpy()
    assert set(np.unique(warped)) <= set(np.unique(moving))
    assert (warped == fixed).mean() > (moving == fixed).mean() + 0.03


def test_warp_points_and_back(folder, run, tmp_path):
    start = folder / "fixed points.csv"
    coincide("warp", start, run / "transform.h5", "--out", tmp_path / "moved.csv")
    moved, truth = read_points(tmp_path / "moved.csv"), read_points(folder / "moving points.csv")
    before = np.linalg.norm(read_points(start) - truth, axis=1)
    after = np.linalg.norm(moved - truth, axis=1)
    assert np.median(after) < 0.5 * np.median(before)
    coincide("warp", tmp_path / "moved.csv", run / "inverse.h5", "--out", tmp_path / "back.csv")
    back = read_points(tmp_path / "back.csv")
    assert np.median(np.linalg.norm(back - read_points(start), axis=1)) < 0.1


def test_evaluate(folder, run, capsys):
    kept = (run / "scores.json").read_bytes()
    capsys.readouterr()
    named = [
        part
        for which in ("fixed", "moving")
        for kind, suffix in (("labels", "nii.gz"), ("points", "csv"))
        for part in (f"--{which}-{kind}", folder / f"{which} {kind}.{suffix}")
    ]
    coincide("evaluate", run, *named)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / "scores.json").read_text())
    assert printed["overlap"]["mean_dice"] > 0.6
    assert printed["landmarks"]["tre_mean_mm"] < 1
    assert "both images" in refused(capsys, "evaluate", run, *named[:2])
    (run / "scores.json").write_bytes(kept)
    assert "register wrote" in refused(capsys, "evaluate", folder)


def test_scoring_again_erases_nothing(folder, run):
    kept = (run / "scores.json").read_bytes()
    labels = [
        part
        for which in ("fixed", "moving")
        for part in (f"--{which}-labels", folder / f"{which} labels.nii.gz")
    ]
    coincide("evaluate", run, *labels)
    first = json.loads((run / "scores.json").read_text())
    coincide("evaluate", run)
    assert json.loads((run / "scores.json").read_text()) == first
    assert first["overlap"]["mean_dice"] > 0.6
    (run / "scores.json").write_bytes(kept)


def test_the_report_of_a_run_names_its_files(run):
    page = (run / "report.html").read_text()
    assert "moving image.nii.gz" in page
    assert "Pair 1" not in page


def test_report(run, tmp_path, capsys):
    coincide("report", run, run, "--out", tmp_path / "both ü.html")
    assert (tmp_path / "both ü.html").stat().st_size > 10_000
    assert "settings.toml" in refused(capsys, "report", tmp_path, "--out", tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()


def test_convert_an_image(folder, tmp_path):
    coincide("convert", folder / "fixed image.nii.gz", tmp_path / "a b.nrrd")
    one, other = read_image(folder / "fixed image.nii.gz"), read_image(tmp_path / "a b.nrrd")
    assert one.grid == other.grid
    assert torch.equal(one.data, other.data)


def test_convert_to_a_displacement(folder, run, tmp_path):
    target = tmp_path / "field.nii.gz"
    coincide(
        *("convert", run / "transform.h5", target, "--displacement"),
        *("--on", folder / "fixed image.nii.gz"),
    )
    assert nib.load(target).shape == (32, 30, 28, 1, 3)
    points = torch.as_tensor(read_points(folder / "fixed points.csv"))[None]
    with torch.no_grad():
        one, other = read_transform(run / "transform.h5")(points), read_transform(target)(points)
    assert float((one - other).norm(dim=-1).median()) < 0.05


def test_convert_a_linear_transform(folder, tmp_path, capsys):
    out = tmp_path / "linear"
    pair = (folder / "fixed image.nii.gz", folder / "moving image.nii.gz")
    coincide("register", *pair, "--initial", "header", "--preset", "affine", "--out", out)
    coincide("convert", out / "transform.h5", tmp_path / "a.tfm")
    matrix = sitk.ReadTransform(str(tmp_path / "a.tfm"))
    found = read_transform(out / "transform.h5").numpy()
    lps = np.diag([-1, -1, 1]) @ found[:3, :3] @ np.diag([-1, -1, 1])
    there = lps @ (1, 2, 3) + found[:3, 3] * (-1, -1, 1)
    np.testing.assert_allclose(matrix.TransformPoint((1.0, 2.0, 3.0)), there, atol=1e-5)
    message = refused(capsys, "convert", out / "transform.h5", tmp_path / "a.xyz")
    assert "known: " in message
    assert not (tmp_path / "a.xyz").exists()


def test_inspect(folder, capsys):
    coincide("inspect", folder / "fixed image.nii.gz", folder / "moving image.nii.gz")
    said = capsys.readouterr().out
    assert said.count("32 x 30 x 28 voxels of 1 x 1.1 x 1.3 mm") == 2
    assert "orientation RAS" in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("register", "FIXED MOVING --out --preset --ways --objective --settings --fixed-mask"),
        ("warp", "IMAGE TRANSFORM --on --out --interpolation --frame"),
        ("evaluate", "FOLDER --fixed-labels --moving-points"),
        ("report", "wrote --out"),
        ("convert", "SOURCE TARGET --on --labels --displacement --frame"),
        ("inspect", "image DICOM"),
        ("demo", "--out --seed"),
    ],
)
def test_help(command, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        coincide(command, "--help")
    assert stopped.value.code == 0
    said = capsys.readouterr().out.lower()
    assert [word for word in words.lower().split() if word not in said] == []


def test_help_covers_every_command(capsys):
    with pytest.raises(SystemExit):
        coincide("--help")
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in said] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("regster",),
        ("register", "--no-such-option", "1"),
        ("register", "a.nii", "b.nii", "--fixed-frame", "two"),
        ("warp", "a.nii", "t.h5", "--out", "b.nii", "--interpolation", "spline"),
        (),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments, capsys):
    assert refused(capsys, *arguments, code=2)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (("--preset", "brian"), "known: auto"),
        (("--objective", "mse + 0.1*bendin"), "known: "),
        (("--ways", "velocty(spacing=4)"), "known: "),
        (("--ways", "mse"), "is no way to a transform"),
        (("--preset", "mine.toml"), "there is no file mine.toml"),
        (("--initial", "nowhere.tfm"), "there is no file 'nowhere.tfm'"),
        (("--fixed-labels", "labels.nii.gz"), "--moving-labels"),
        (("--settings", "none.toml"), "no settings file none.toml"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_bad_settings_end_with_1_and_leave_nothing(folder, tmp_path, capsys, changes, part):
    pair = (folder / "fixed image.nii.gz", folder / "moving image.nii.gz")
    first = () if "--initial" in changes else ("--initial", "header")
    said = refused(capsys, "register", *pair, *first, "--out", tmp_path / "out", *changes)
    assert said.startswith("coincide: ")
    assert part in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_missing_arguments_are_named(folder, capsys):
    assert "no out given" in refused(
        capsys, "register", folder / "fixed image.nii.gz", folder / "moving image.nii.gz"
    )
    assert "no fixed given" in refused(capsys, "register")
    said = refused(
        capsys, "warp", folder / "moving image.nii.gz", folder / "none.h5", "--out", "x.nii"
    )
    assert "no file" in said


def test_settings_that_are_not_ours(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("colour = 'red'\n")
    said = refused(capsys, "register", "--settings", tmp_path / "a.toml", "--out", tmp_path / "o")
    assert "unknown settings ['colour']" in said
    (tmp_path / "b.toml").write_text("colour =")
    said = refused(capsys, "register", "--settings", tmp_path / "b.toml", "--out", tmp_path / "o")
    assert "is not a settings file" in said
