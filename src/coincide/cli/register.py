"""coincide register."""

import json as js
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagConversionOff, FlagCreatePairsOff, Positional, arg

from coincide.output import refuse_overwriting, save
from coincide.presets.preset import PRESETS, Preset
from coincide.presets.preset import preset as find_preset
from coincide.register import run
from coincide.registration import Registration
from coincide.request import Request, request
from coincide.scores.evaluate import evaluate
from coincide.settings import INPUTS, SIDES, TOLD, read_settings, scans
from coincide.space.image import Image

NOT_ALIKE = 4  # exit code under --strict
PRESET_HELP = (
    f"What is registered: {', '.join(PRESETS)}; or a file of your own, such as my.toml. "
    "Without it: auto."
)
Text = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
File = Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]


@dataclass(frozen=True)
class RegisterOptions:
    """Everything a run depends on; `settings.toml` holds the same.

    Args:
        fixed: Image that stays: NIfTI, MGZ, NRRD, MetaImage, PNG/TIFF, or a DICOM folder.
        moving: Image that is brought onto it.
        out: Folder for warped.nii.gz, transform.h5, inverse.h5, scores.json, settings.toml,
            result.json and report.html.
        preset: See above.
        ways: All that is done, one after the other, such as "affine >> displacement", "rigid" or
            "affine >> convex(reach=36) >> velocity(spacing=4)". Without it: those of the preset.
        objective: What a deformation minimises, such as "ngf(eta=0.5) + 0.1*bending", or
            "lncc + 0.5*labels" and "lncc + landmarks" to let the label maps or landmarks take part.
        optimiser: Such as "adam(rate=0.1)" or "compositive(update=2, field=1)"; this and the
            objective may be one for each level, coarse to fine, divided by semicolons.
        steps: Most steps on each level, coarse to fine, such as "50,30,10".
        initial: Where to begin: search (any orientation), header (trust the files), or a transform
            file, which is refined by ways that can and kept by others. Without it: search.
        fixed_mask: Where the fixed image counts: weights from 0 to 1, or above 0.
        moving_mask: Where the moving image counts.
        fixed_exclude: Where the fixed image does not count, such as a lesion.
        moving_exclude: Where the moving image does not count.
        fixed_labels: Label map of the fixed image, for scores and the term "labels".
        moving_labels: Label map of the moving image, for the same.
        fixed_points: Landmarks of the fixed image, for scores and the term "landmarks".
        moving_points: Landmarks of the moving image, in the same order.
        label_names: What the labels are called: a table of number and name, a label description of
            ITK-SNAP or a lookup table of FreeSurfer.
        moving_label_names: The same of the moving labels, where their numbers differ: those of one
            name are the same organ.
        moving_label_map: Or a table of moving and fixed numbers that mean the same organ.
        fixed_frame: Which volume of a fixed 4-D file, from 0.
        moving_frame: Which volume of a moving 4-D file.
        fixed_series: UID of the DICOM series, where the fixed folder holds several.
        moving_series: The same for the moving folder.
        device: auto (CUDA where present), cpu or cuda. Without it: auto.
    """

    fixed: Annotated[Positional[str | None], arg(metavar="FIXED", help_behavior_hint="")] = None
    moving: Annotated[Positional[str | None], arg(metavar="MOVING", help_behavior_hint="")] = None
    out: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="(needed)")] = None
    preset: Annotated[str | None, arg(metavar="NAME", help=PRESET_HELP, help_behavior_hint="")] = (
        None
    )
    ways: Text = None
    objective: Text = None
    optimiser: Text = None
    steps: Annotated[str | None, arg(metavar="N,N,...", help_behavior_hint="")] = None
    initial: Annotated[str | None, arg(metavar="WHERE", help_behavior_hint="")] = None
    fixed_mask: File = None
    moving_mask: File = None
    fixed_exclude: File = None
    moving_exclude: File = None
    fixed_labels: File = None
    moving_labels: File = None
    fixed_points: File = None
    moving_points: File = None
    label_names: File = None
    moving_label_names: File = None
    moving_label_map: File = None
    fixed_frame: Number = None
    moving_frame: Number = None
    fixed_series: Annotated[str | None, arg(metavar="UID", help_behavior_hint="")] = None
    moving_series: Annotated[str | None, arg(metavar="UID", help_behavior_hint="")] = None
    device: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None


Flag = FlagCreatePairsOff[bool]


def register(
    options: Annotated[RegisterOptions, arg(name="")],
    settings: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    report: FlagConversionOff[bool] = True,
    strict: Flag = False,
    force: Flag = False,
    dry_run: Flag = False,
    json: Flag = False,
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
        strict: End with exit code 4 if the two images do not agree better than by chance.
        force: Write over another run in the folder.
        dry_run: Read and check everything, say what would be done, and stop.
        json: Print one JSON object instead of sentences.
    """
    begin = time.perf_counter()
    given, plan = _merged(options, settings)
    for name in ("fixed", "moving", "out"):
        if not given.get(name):
            raise ValueError(f"no {name} given; write: coincide register FIXED MOVING --out FOLDER")
    asked = request(
        *scans(given),
        options.ways,
        objective=options.objective,
        optimiser=options.optimiser,
        preset=plan,
        initial=given.get("initial", "search"),
        device=given.get("device", "auto"),
    )
    folder = Path(given["out"])
    refuse_overwriting(folder, asked.asked, asked.hashes, force=force)
    if dry_run:
        for note in asked.notes:
            print(f"note: {note}", file=sys.stderr)
        print(js.dumps(asked.asked, indent=2) if json else _planned(asked, folder))
        return
    result = run(asked)
    # a plan that was changed here still goes by the name that it was given
    named = {**result.settings, "preset": given.get("preset", "auto")}
    result = replace(result, settings=named)
    for note in result.warnings:
        print(f"note: {note}", file=sys.stderr)
    if result.agreement is not None and not result.agreement.gained:
        print("WARNING: this registration has failed by its own measure", file=sys.stderr)
    scores = evaluate(result).to_dict()
    save(result, folder, scores=scores, report=report, force=force)
    seconds = time.perf_counter() - begin
    print(_object(result, scores, folder, seconds) if json else _said(result, scores))
    if not json:
        print(f"wrote {folder} in {seconds:.1f} s")
    if strict and result.agreement is not None and not result.agreement.gained:
        sys.exit(NOT_ALIKE)


def _merged(options: RegisterOptions, settings: Path | None) -> tuple[dict[str, Any], Any]:
    """What was given here and, where it was not, in the settings; and the preset that it makes."""
    here = {f.name: getattr(options, f.name) for f in fields(options)}
    here = {name: value for name, value in here.items() if value is not None}
    for name in (*INPUTS, *TOLD):  # a run can be repeated from any folder
        if name in here:
            here[name] = str(Path(here[name]).resolve())
    stored = {} if settings is None else _stored(settings)
    for side in SIDES:  # masks, labels, points and frames belong to the image that they came with
        if here.get(side, stored.get(side)) != stored.get(side):
            own = [name for name, (whose, _) in TOLD.items() if whose == side]
            stored = {
                k: v for k, v in stored.items() if not k.startswith(f"{side}_") and k not in own
            }
    if "preset" in here or settings is None:
        plan: Any = here.get("preset", "auto")
    else:
        plan = Preset.from_dict(stored, str(settings))
    if "steps" in here:
        plan = plan if isinstance(plan, Preset) else find_preset(plan)
        plan = plan.with_steps(*_steps(here["steps"]))
    return {**stored, **here}, plan


def _stored(path: Path) -> dict[str, Any]:
    """Settings of an earlier run.

    Raises:
        ValueError: if there are none, or they cannot repeat it.
    """
    stored = read_settings(path)
    if stored.get("incomplete"):
        raise ValueError(
            f"the run of {path} had terms made of data in Python, {', '.join(stored['incomplete'])}"
            "; only Python can repeat it"
        )
    return stored


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f'steps are numbers, such as "50,30,10", not {text!r}') from None


def _planned(asked: Request, folder: Path) -> str:
    """What would be done, for a person."""
    levels = asked.plan.levels
    said = [f"{n}: {level}" for n, level in enumerate(levels)] or ["chosen by looking at the pair"]
    images = zip(SIDES, (asked.fixed.image, asked.moving.image), strict=True)
    return "\n".join(
        [
            *(f"{side:9} {_size(image)}" for side, image in images),
            f"ways      {asked.parts}",
            f"begin     {asked.asked['initial']}",
            *(f"levels    {one}" for one in said),
            f"out       {folder}",
            "nothing was registered and nothing was written (--dry-run)",
        ]
    )


def _size(image: Image) -> str:
    voxels = " x ".join(str(n) for n in image.grid.shape)
    masked = "" if image.mask is None else ", with a mask"
    return f"{voxels} voxels of {' x '.join(f'{mm:.3g}' for mm in image.grid.spacing)} mm{masked}"


def _said(result: Registration, scores: Mapping[str, Any]) -> str:
    """How it went, for a person."""
    parts = [f"folding {scores['regularity']['folding_percent']:.3f} %"]
    residual = (scores["inverse"] or {}).get("inverse_residual_median_mm")
    if residual is not None:
        parts.append(f"inverse residual {residual:.3f} mm")
    if scores["overlap"]:
        parts.append(f"mean Dice {scores['overlap']['mean_dice']:.3f}")
    if scores["landmarks"]:
        parts.append(f"landmark error {scores['landmarks']['tre_mean_mm']:.2f} mm")
    if scores["uncertainty"]:
        parts.append(f"uncertainty {scores['uncertainty']['mean_mm']:.2f} mm")
    return f"{result.status}\n{', '.join(parts)}"


def _object(result: Registration, scores: Mapping[str, Any], folder: Path, seconds: float) -> str:
    """The same as one JSON object."""
    found = {
        "folder": str(folder.resolve()),
        "status": result.status,
        "warnings": list(result.warnings),
        "agreement": None if result.agreement is None else result.agreement.to_dict(),
        "scores": dict(scores),
        "seconds": seconds,
    }
    return js.dumps(found, indent=2)
