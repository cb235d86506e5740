"""coincide register."""

import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagConversionOff, Positional, arg

from coincide.files.accept import as_image
from coincide.files.points import read_points
from coincide.files.read import ImageFile, load, read_labels
from coincide.initialise.mask import with_mask
from coincide.objective import Objective
from coincide.objective import objective as read_objective
from coincide.output import save
from coincide.presets.preset import PRESETS, Preset
from coincide.presets.preset import preset as find_preset
from coincide.register import register as run
from coincide.registry import per_level
from coincide.report.beside import Beside
from coincide.scores.evaluate import evaluate
from coincide.space.image import Image

PRESET_HELP = (
    f"What is registered: {', '.join(PRESETS)}; or a file of your own, such as my.toml. None: auto."
)
Given = Mapping[str, Any]


@dataclass(frozen=True)
class RegisterOptions:
    """Everything a run depends on; `settings.toml` holds the same.

    Args:
        fixed: Image that stays: NIfTI, MGZ, NRRD, MetaImage, PNG/TIFF, or a DICOM folder.
        moving: Image that is brought onto it.
        out: Folder for warped.nii.gz, transform.h5, inverse.h5, scores.json, settings.toml and
            report.html.
        preset: See above.
        ways: All that is done, one after the other, such as "affine >> displacement", "rigid" or
            "affine >> convex(reach=36) >> velocity(spacing=4)". None: those of the preset.
        objective: What a deformation minimises, such as "ngf(eta=0.5) + 0.1*bending", or
            "lncc + 0.5*labels" and "lncc + landmarks" to let the label maps or landmarks take part.
        optimiser: Such as "adam(rate=0.1)" or "compositive(update=2, field=1)"; this and the
            objective may be one for each level, coarse to fine, divided by semicolons.
        steps: Most steps on each level, coarse to fine, such as "50,30,10".
        initial: Where to begin: search (any orientation), header (trust the files), or a transform
            file, which is refined by ways that can and kept by others. None: search.
        fixed_mask: Where the fixed image counts: weights from 0 to 1, or above 0.
        moving_mask: Where the moving image counts.
        fixed_exclude: Where the fixed image does not count, such as a lesion.
        moving_exclude: Where the moving image does not count.
        fixed_labels: Label map of the fixed image, for scores and the term "labels".
        moving_labels: Label map of the moving image, for the same.
        fixed_points: Landmarks of the fixed image, for scores and the term "landmarks".
        moving_points: Landmarks of the moving image, in the same order.
        frame: Which volume of a 4-D file (both images), from 0.
        device: auto (CUDA where present), cpu or cuda. None: auto.
    """

    fixed: Positional[str | None] = None
    moving: Positional[str | None] = None
    out: str | None = None
    preset: Annotated[str | None, arg(help=PRESET_HELP)] = None
    ways: str | None = None
    objective: str | None = None
    optimiser: str | None = None
    steps: str | None = None
    initial: str | None = None
    fixed_mask: str | None = None
    moving_mask: str | None = None
    fixed_exclude: str | None = None
    moving_exclude: str | None = None
    fixed_labels: str | None = None
    moving_labels: str | None = None
    fixed_points: str | None = None
    moving_points: str | None = None
    frame: int | None = None
    device: str | None = None


FILES = tuple(
    f"{which}{kind}"
    for which in ("fixed", "moving")
    for kind in ("", "_mask", "_exclude", "_labels", "_points")
)


def register(
    options: Annotated[RegisterOptions, arg(name="")],
    settings: Path | None = None,
    report: FlagConversionOff[bool] = True,
) -> None:
    """Bring a moving image onto a fixed one and write everything into one folder.

    With no settings any two images of the same anatomy are registered: contrast, orientation,
    position and levels are worked out.

        coincide register t1.nii.gz t2.nii.gz --out t2_on_t1
        coincide register fixed.nii.gz moving.nii.gz --out run --preset lung-ct
        coincide register --settings run/settings.toml --out again

    Args:
        options: What the run depends on.
        settings: A settings.toml of an earlier run, to repeat; options given here overrule it.
        report: Whether to write report.html.
    """
    begin = time.perf_counter()
    given, plan = _merged(options, settings)
    for name in ("fixed", "moving", "out"):
        if not given.get(name):
            raise ValueError(f"no {name} given; write: coincide register FIXED MOVING --out FOLDER")
    fixed, moving = (
        _masked(
            as_image(given[which], frame=given.get("frame")),
            given.get(f"{which}_mask"),
            given.get(f"{which}_exclude"),
        )
        for which in ("fixed", "moving")
    )
    truth = _truth(given, fixed.image, moving.image)
    result = run(
        fixed,
        moving,
        options.ways,
        objective=_objectives(options.objective, truth) if options.objective else None,
        optimiser=options.optimiser,
        preset=_with_terms(plan, truth),
        initial=given.get("initial", "search"),
        device=given.get("device", "auto"),
    )
    for note in result.warnings:
        print(f"note: {note}", file=sys.stderr)
    scores = evaluate(result, **truth).to_dict()
    used = {name: given[name] for name in (*FILES, "frame") if name in given}
    used["preset"] = given.get("preset", "auto")
    beside = Beside(**truth, fixed_file=given["fixed"], moving_file=given["moving"])
    folder = save(result, given["out"], scores=scores, settings=used, report=report, beside=beside)
    _say(result.status, scores, folder, time.perf_counter() - begin)


def _merged(options: RegisterOptions, settings: Path | None) -> tuple[dict[str, Any], Preset]:
    """What was given here and, where it was not, in the settings; and the preset that it makes."""
    here = {f.name: getattr(options, f.name) for f in fields(options)}
    here = {name: value for name, value in here.items() if value is not None}
    for name in FILES:  # a run can be repeated from any folder
        if name in here:
            here[name] = str(Path(here[name]).resolve())
    stored = {} if settings is None else _stored(settings)
    if "preset" in here or settings is None:
        plan = find_preset(here.get("preset", "auto"))
    else:
        plan = Preset.from_dict(stored, str(settings))
    if "steps" in here:
        plan = plan.with_steps(*_steps(here["steps"]))
    return {**stored, **here}, plan


def _stored(path: Path) -> dict[str, Any]:
    """Settings of an earlier run.

    Raises:
        ValueError: if there are none, or they cannot repeat it.
    """
    try:
        stored = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no settings file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a settings file: {error}") from None
    known = {f.name for f in fields(RegisterOptions)} | {"about", "levels", "window"}
    unknown = sorted(set(stored) - known - {"version", "incomplete"})
    if unknown:
        raise ValueError(f"{path} has unknown settings {unknown}; known: {sorted(known)}")
    if stored.get("incomplete"):
        raise ValueError(
            f"the run of {path} had terms made of data in Python, {', '.join(stored['incomplete'])}"
            "; only Python can repeat it"
        )
    initial = stored.get("initial", "search")
    if initial not in ("search", "header"):
        stored["initial"] = str(path.parent / initial)
    return stored


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f'steps are numbers, such as "50,30,10", not {text!r}') from None


def _with_terms(plan: Preset, truth: dict[str, Any]) -> Preset:
    """The preset, its objectives given label maps and landmarks where they ask for them."""
    levels = [
        replace(level, objective=_objectives(str(level.objective), truth)[0])
        if level.objective
        else level
        for level in plan.levels
    ]
    return replace(plan, levels=tuple(levels))


def _masked(image: ImageFile, mask: str | None, exclude: str | None) -> ImageFile:
    for path, out in ((mask, False), (exclude, True)):
        if path:
            where = load(path)
            combined, notes = with_mask(image.image, where.image, path, exclude=out)
            warnings = (*image.warnings, *where.warnings, *notes)
            image = replace(image, image=combined, warnings=warnings)
    return image


def _truth(given: Given, fixed: Image, moving: Image) -> dict[str, Any]:
    """Label maps and landmarks for the scores; both of a kind, or none."""
    found: dict[str, Any] = {}
    for kind in ("labels", "points"):
        names = [f"{which}_{kind}" for which in ("fixed", "moving")]
        paths = [given[name] for name in names if name in given]
        if len(paths) == 1:
            raise ValueError(
                f"scores need the {kind} of both images: give --fixed-{kind} and --moving-{kind}"
            )
        for name, path, image in zip(names, paths, (fixed, moving), strict=False):
            # points of a picture are pixels of it
            found[name] = read_labels(path) if kind == "labels" else read_points(path, image=image)
    return found


def _objectives(text: str, truth: dict[str, Any]) -> list[Objective]:
    """The objectives, their terms given the label maps and landmarks that came with the images."""
    targets = [read_objective(one) for one in per_level(text)]
    for name, kind in (("labels", "labels"), ("landmarks", "points")):
        if any(name in target.absent for target in targets):
            if f"fixed_{kind}" not in truth:
                raise ValueError(
                    f"the objective has the term {name!r}; give --fixed-{kind} and --moving-{kind}"
                )
            data = truth[f"fixed_{kind}"], truth[f"moving_{kind}"]
            targets = [target.with_data(name, *data) for target in targets]
            print(f"note: the {name} take part, so their scores flatter", file=sys.stderr)
    return targets


def _say(status: str, scores: dict[str, Any], folder: Path, seconds: float) -> None:
    parts = [f"folding {scores['regularity']['folding_percent']:.3f} %"]
    residual = (scores["inverse"] or {}).get("inverse_residual_median_mm")
    if residual is not None:
        parts.append(f"inverse residual {residual:.3f} mm")
    if scores["overlap"]:
        parts.append(f"mean Dice {scores['overlap']['mean_dice']:.3f}")
    if scores["landmarks"]:
        parts.append(f"landmark error {scores['landmarks']['tre_mean_mm']:.2f} mm")
    print(status)
    print(", ".join(parts))
    print(f"wrote {folder} in {seconds:.1f} s")
