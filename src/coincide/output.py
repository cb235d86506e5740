"""Output: the folder that a registration leaves behind."""

import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w
import torch

from coincide.files.atomic import atomic
from coincide.files.itk import read_transform, write_transform
from coincide.files.points import write_points
from coincide.files.write import write_image
from coincide.record import RECORD, lifted, plain, record
from coincide.registration import Registration
from coincide.report.page import write_report
from coincide.scan import content_hash
from coincide.scores.evaluate import evaluate
from coincide.settings import INITIAL, INPUTS, KEYS, SIDES, stored_name
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.transform import Transform

TOLERANCE = 0.01  # mm by which a transform read back may differ
STAGE = ".unfinished-"
WRITTEN = ("warped.nii.gz", "transform.h5", "inverse.h5", "settings.toml", "scores.json", RECORD)


def save(
    result: Registration,
    folder: str | Path,
    *,
    scores: Mapping[str, Any] | None = None,
    report: bool = True,
    force: bool = False,
) -> Path:
    """Write everything that is known of a registration into one folder, which `load` reads.

    | file | holds |
    |---|---|
    | `transform.h5`, `inverse.h5` | the two maps, for ITK, ANTs and 3D Slicer too |
    | `warped.nii.gz` | the moving image on the grid of the fixed one |
    | `settings.toml` | what repeats the run: `coincide register --settings` |
    | `scores.json` | what `evaluate` gave |
    | `report.html` | the page to look at |
    | `result.json` | how it was found, what was odd, hashes of the inputs, versions, the date |
    | `initial.h5`, `confidence.nii.gz` | where there was a start, or a search |
    | `fixed.nii.gz`, `moving.nii.gz`, … | inputs that were given as arrays, not as files |

    Transforms are read back and compared. All files appear together, after all could be written:
    an earlier result stays whole until then. `result.json` is taken away first and comes last, so
    that a folder that holds one is complete.

    Args:
        result: What `register` returned.
        folder: Made if it does not exist.
        scores: What `evaluate(...).to_dict()` gave; None: evaluated with the labels and landmarks
            of the run.
        report: Whether to write `report.html`.
        force: Whether to write over another run, or over what is no run.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder holds files of other runs; the same run may be written again.
        ValueError: if an input of the run would be written over.
        OSError: if something cannot be written or does not read back as it was.
    """
    folder = Path(folder)
    result = _named(result)
    own = arrays(result)
    hashes = {**result.hashes, **{name: content_hash(value) for name, value in own.items()}}
    refuse_overwriting(folder, result.asked, hashes, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with --out"
        ) from error
    found = evaluate(result).to_dict() if scores is None else dict(scores)
    with _staged(folder) as stage:
        _write(result, stage, own, found, report=report)
        write_text(json.dumps(record(result, hashes), indent=1), stage / RECORD)
    return folder


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A hidden folder to write to, whose files move up only if all could be written."""
    for left in folder.glob(f"{STAGE}*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=STAGE, dir=folder) as place:
        yield Path(place)
        (folder / RECORD).unlink(missing_ok=True)  # from here on the folder is in between
        for path in sorted(Path(place).iterdir(), key=lambda path: path.name == RECORD):
            path.replace(folder / path.name)


def _write(
    result: Registration,
    folder: Path,
    own: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    report: bool,
) -> None:
    """Write all but the record, two files at a time."""
    warped, grid = result.warped, result.fixed.grid
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(write_image, warped, folder / "warped.nii.gz"),
            pool.submit(_transform, result.transform, folder / "transform.h5", grid),
            pool.submit(_transform, result.inverse, folder / "inverse.h5", grid),
            pool.submit(write_text, settings_text(result.settings), folder / "settings.toml"),
            pool.submit(write_text, json.dumps(found, indent=2), folder / "scores.json"),
        ]
        if result.initial is not None:
            jobs.append(pool.submit(_transform, result.initial, folder / INITIAL, grid))
        if result.confidence is not None:
            place = folder / "confidence.nii.gz"
            jobs.append(pool.submit(write_image, result.confidence, place))
        for name, value in own.items():
            write: Any = write_image if isinstance(value, Image) else write_points
            whole = lifted(value) if isinstance(value, Image) else value
            jobs.append(pool.submit(write, whole, folder / result.settings[name]))
        if report:
            write_report([result], folder / "report.html", scores=[found])
        for job in jobs:
            job.result()


def _named(result: Registration) -> Registration:
    """The same with a name for the images and masks of a result that somebody put together."""
    if "fixed" in result.settings and "moving" in result.settings:
        return result
    names: dict[str, Any] = {}
    for side, image in zip(SIDES, (result.fixed, result.moving), strict=True):
        names[side] = stored_name(side, "")
        if image.mask is not None:
            names[f"{side}_mask"] = stored_name(side, "mask")
    return replace(result, settings={**names, **result.settings})


def arrays(result: Registration) -> dict[str, Any]:
    """What was given as arrays and is to be written beside the settings, by its key there."""
    found: dict[str, Any] = {}
    for number, (side, image) in enumerate(zip(SIDES, (result.fixed, result.moving), strict=True)):
        mask = None if image.mask is None else Image(image.mask, image.grid)
        labels = result.labels and result.labels[number]
        points = None if result.points is None else result.points[number]
        values = {"": image.with_mask(None), "mask": mask, "labels": labels, "points": points}
        for kind, value in values.items():
            name = f"{side}_{kind}".rstrip("_")
            if value is not None and result.settings.get(name) == stored_name(side, kind):
                found[name] = value
    return found


def refuse_overwriting(
    folder: Path, asked: Mapping[str, Any], hashes: Mapping[str, str], *, force: bool = False
) -> None:
    """Refuse a folder that holds anything else than the same run.

    Args:
        folder: Where a run is to be written.
        asked: What was asked for; see `settings.asked`.
        hashes: SHA-256 of its inputs, by their keys in the settings.
        force: Whether to write over another run all the same.

    Raises:
        FileExistsError: saying what would work.
        ValueError: if an input of this run would be written over.
    """
    place = folder.resolve()
    names = (*WRITTEN, "report.html", INITIAL, "confidence.nii.gz")
    for name in INPUTS:
        path = Path(str(asked.get(name, "")))
        if path.is_absolute() and path.parent == place and path.name in names:
            raise ValueError(
                f"{path} is an input of this run and would be written over; choose another folder"
            )
    there = [name for name in names if (folder / name).exists()]
    if force or not there:
        return
    if not same_run(folder, asked, hashes):
        what = "another run" if RECORD in there else f"files of the same names ({', '.join(there)})"
        raise FileExistsError(
            f"{folder} holds {what}; choose another folder, or write over it with --force "
            "(force=True in Python)"
        )


def same_run(folder: Path, asked: Mapping[str, Any], hashes: Mapping[str, str]) -> bool:
    """Whether a folder holds a finished run of the same inputs with the same settings."""
    try:
        stored = json.loads((folder / RECORD).read_text("utf-8"))
        settings = tomllib.loads((folder / "settings.toml").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    # a run is also repeated by the settings that it wrote
    chosen = {name: settings[name] for name in KEYS if name in settings and name != "preset"}
    wanted = plain(asked)
    return stored["hashes"] == dict(hashes) and wanted in (stored["asked"], plain(chosen))


def settings_text(settings: Mapping[str, Any]) -> str:
    """As TOML; plain values come before the tables of the levels."""
    return tomli_w.dumps(dict(sorted(settings.items(), key=lambda item: item[0] == "levels")))


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _transform(transform: Transform, path: Path, grid: Grid) -> None:
    """Write a transform, and compare what is read back at some points of the grid."""
    write_transform(transform, path, grid=grid)
    back = read_transform(path)
    generator = torch.Generator().manual_seed(0)
    index = torch.rand(200, grid.dim, generator=generator, dtype=torch.float64).numpy()
    points = torch.as_tensor(grid.to_world(index * grid.shape))[None]
    with torch.no_grad():
        apart = float((back(points) - transform(points)).norm(dim=-1).max())
    if apart > TOLERANCE:
        path.unlink()
        raise OSError(f"{path} read back {apart:.3g} mm away from what was written; try again")
