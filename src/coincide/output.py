"""Output: the folder that a registration leaves behind."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w
import torch

from coincide.files.atomic import atomic
from coincide.files.itk import read_transform, write_transform
from coincide.files.write import write_image
from coincide.registration import Registration
from coincide.report.beside import Beside
from coincide.report.page import write_report
from coincide.settings import INITIAL
from coincide.space.grid import Grid
from coincide.transforms.transform import Transform

TOLERANCE = 0.01  # mm by which a transform read back may differ


def save(
    result: Registration,
    folder: str | Path,
    *,
    scores: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    report: bool = True,
    beside: Beside | None = None,
) -> Path:
    """Write `warped.nii.gz`, `transform.h5`, `inverse.h5`, scores, settings and the report.

    Every file appears whole or not at all; transforms are read back and compared.

    Args:
        result: What `register` returned.
        folder: Made if it does not exist; files in it with the same names are replaced.
        scores: What `evaluate(...).to_dict()` gave.
        settings: What repeats the run beside the settings of the result, such as files.
        report: Whether to write `report.html`.
        beside: Files, label maps and landmarks that the report shows; None: only what the result
            holds.

    Returns:
        The folder.

    Raises:
        OSError: if something cannot be written or does not read back as it was.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with --out"
        ) from error
    warped, grid = result.warped, result.fixed.grid
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(write_image, warped, folder / "warped.nii.gz"),
            pool.submit(_transform, result.transform, folder / "transform.h5", grid),
            pool.submit(_transform, result.inverse, folder / "inverse.h5", grid),
            pool.submit(_text, _settings(result, settings), folder / "settings.toml"),
            pool.submit(_text, json.dumps(scores or {}, indent=2), folder / "scores.json"),
        ]
        if result.initial is not None:
            jobs.append(pool.submit(_transform, result.initial, folder / INITIAL, grid))
        if report:
            write_report([result], folder / "report.html", scores=[scores], beside=[beside])
        for job in jobs:
            job.result()
    return folder


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


def _settings(result: Registration, more: Mapping[str, Any] | None) -> str:
    """As TOML; plain values come before the tables of the levels."""
    found = {**result.settings, **(more or {})}
    return tomli_w.dumps(dict(sorted(found.items(), key=lambda item: item[0] == "levels")))


def _text(text: str, path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
