"""coincide register."""

import sys
import time
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagConversionOff, Positional, arg

from coincide.files.accept import as_image
from coincide.files.itk import read_transform
from coincide.files.points import read_points
from coincide.files.read import ImageFile, load, read_labels
from coincide.initialise.mask import with_mask
from coincide.objective import Objective
from coincide.objective import objective as read_objective
from coincide.output import save
from coincide.presets import Preset
from coincide.presets import preset as find_preset
from coincide.register import register as run
from coincide.registry import every
from coincide.scores.evaluate import evaluate
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class RegisterOptions:
    """Everything a run depends on; `settings.toml` holds exactly this.

    Args:
        fixed: Image that stays: NIfTI, MGZ, NRRD, MetaImage, PNG/TIFF, or a DICOM folder.
        moving: Image that is brought onto it.
        out: Folder for warped.nii.gz, transform.h5, inverse.h5, scores.json, settings.toml and
            report.html.
        preset: auto, fast, accurate, brain-mr, brain-multimodal, lung-ct, abdomen, cardiac,
            histology, rigid or affine.
        transform: Deformation, such as "velocity(spacing=4)", "bspline(spacing=8)" or "rigid".
        objective: What is minimised, such as "ngf(eta=0.5) + 0.1*bending", or "lncc + 0.5*labels"
            and "lncc + landmarks" to let the label maps or landmarks take part.
        optimiser: Such as "adam(rate=0.1)" or "compositive(update=2, field=1)"; this and the
            objective may be one for each level, coarse to fine, divided by semicolons.
        steps: Most steps on each level, coarse to fine, such as "50,30,10".
        search: What finds large motion first, such as "convex(spacing=6, reach=32)"; none.
        initial: search (any orientation), header (trust the files), or a linear transform file.
        fixed_mask: Where the fixed image counts: weights from 0 to 1, or above 0.
        moving_mask: Where the moving image counts.
        fixed_exclude: Where the fixed image does not count, such as a lesion.
        moving_exclude: Where the moving image does not count.
        fixed_labels: Label map of the fixed image, for scores and the term "labels".
        moving_labels: Label map of the moving image, for the same.
        fixed_points: Landmarks of the fixed image, for scores and the term "landmarks".
        moving_points: Landmarks of the moving image, in the same order.
        frame: Which volume of a 4-D file (both images), from 0.
        device: auto (CUDA where present), cpu or cuda.
    """

    fixed: Positional[str] = ""
    moving: Positional[str] = ""
    out: str = ""
    preset: str = "auto"
    transform: str = ""
    objective: str = ""
    optimiser: str = ""
    steps: str = ""
    search: str = ""
    initial: str = "search"
    fixed_mask: str = ""
    moving_mask: str = ""
    fixed_exclude: str = ""
    moving_exclude: str = ""
    fixed_labels: str = ""
    moving_labels: str = ""
    fixed_points: str = ""
    moving_points: str = ""
    frame: int = -1
    device: str = "auto"


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
    options = _merged(options, settings)
    for name in ("fixed", "moving", "out"):
        if not getattr(options, name):
            raise ValueError(f"no {name} given; write: coincide register FIXED MOVING --out FOLDER")
    frame = None if options.frame < 0 else options.frame
    fixed = _masked(as_image(options.fixed, frame=frame), options.fixed_mask, options.fixed_exclude)
    moving = _masked(
        as_image(options.moving, frame=frame), options.moving_mask, options.moving_exclude
    )
    truth = _truth(options)
    result = run(
        fixed,
        moving,
        options.transform or None,
        objective=_objectives(options.objective, truth),
        optimiser=options.optimiser or None,
        preset=_preset(options),
        initial=_initial(options.initial),
        device=options.device,
    )
    for note in result.warnings:
        print(f"note: {note}", file=sys.stderr)
    scores = evaluate(result, **truth).to_dict()
    folder = save(result, options.out, scores=scores, settings=_plain(options), report=report)
    _say(result.status, scores, folder, time.perf_counter() - begin)


def _preset(options: RegisterOptions) -> str | Preset:
    """The preset, with another search or other steps; the search `none` leaves it out."""
    plan = find_preset(options.preset)
    changes: dict[str, Any] = {}
    if options.search:
        changes["search"] = "" if options.search == "none" else options.search
    if options.steps:
        if not (options.transform or plan.transform):
            raise ValueError(f"--steps are those of a deformation; {options.preset!r} has none")
        changes["steps"] = _steps(options.steps)
    return replace(plan, **changes) if changes else options.preset


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f'steps are numbers, such as "50,30,10", not {text!r}') from None


def _merged(options: RegisterOptions, settings: Path | None) -> RegisterOptions:
    if settings is None:
        return options
    try:
        stored = tomllib.loads(settings.read_text())
    except FileNotFoundError:
        raise ValueError(f"there is no settings file {settings}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{settings} is not a settings file: {error}") from None
    known = {f.name for f in fields(RegisterOptions)}
    unknown = sorted(set(stored) - known - {"version"})
    if unknown:
        raise ValueError(f"{settings} has unknown settings {unknown}; known: {sorted(known)}")
    stored.pop("version", None)
    given = {
        f.name: getattr(options, f.name)
        for f in fields(options)
        if getattr(options, f.name) != f.default
    }
    return replace(RegisterOptions(), **{**stored, **given})


def _plain(options: RegisterOptions) -> dict[str, Any]:
    """The options as they repeat the run from any folder: paths made absolute."""
    values = asdict(options)
    for name, value in values.items():
        if value and isinstance(value, str) and Path(value).exists() and name != "out":
            values[name] = str(Path(value).resolve())
    return values


def _masked(image: ImageFile, mask: str, exclude: str) -> ImageFile:
    for path, out in ((mask, False), (exclude, True)):
        if path:
            where = load(path)
            combined, notes = with_mask(image.image, where.image, path, exclude=out)
            warnings = (*image.warnings, *where.warnings, *notes)
            image = replace(image, image=combined, warnings=warnings)
    return image


def _truth(options: RegisterOptions) -> dict[str, Any]:
    """Label maps and landmarks for the scores; both of a kind, or none."""
    found: dict[str, Any] = {}
    for kind, read in (("labels", read_labels), ("points", read_points)):
        names = [f"{which}_{kind}" for which in ("fixed", "moving")]
        given = [getattr(options, name) for name in names]
        if bool(given[0]) != bool(given[1]):
            raise ValueError(
                f"scores need the {kind} of both images: give --fixed-{kind} and --moving-{kind}"
            )
        if all(given):
            found |= {name: read(path) for name, path in zip(names, given, strict=True)}
    return found


def _objectives(text: str, truth: dict[str, Any]) -> list[Objective] | None:
    """The objectives, their terms given the label maps and landmarks that came with the images."""
    if not text:
        return None
    targets = [read_objective(one) for one in every(text)]
    for name, kind in (("labels", "labels"), ("landmarks", "points")):
        if any(name in target.absent for target in targets):
            if f"fixed_{kind}" not in truth:
                raise ValueError(
                    f"the objective has the term {name!r}; give --fixed-{kind} and --moving-{kind}"
                )
            data = truth[f"fixed_{kind}"], truth[f"moving_{kind}"]
            targets = [target.given(name, *data) for target in targets]
            print(f"note: the {name} take part, so their scores flatter", file=sys.stderr)
    return targets


def _initial(text: str) -> str | Transform:
    return text if text in ("search", "header") else read_transform(text)


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
