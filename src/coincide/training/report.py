"""Report: one page about a training, with its curves and what its network sees."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor, nn

from coincide.files.atomic import atomic
from coincide.report.curves import drawn
from coincide.training.loop import Task

POINTS = 400  # of a curve
ENLARGED = 5  # pixels of a voxel
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a2b2b}table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"
    "img{image-rendering:pixelated}.curve{margin:0 2rem 1rem 0;display:inline-block}"
    "path,polyline{fill:none;stroke:#00695f;stroke-width:1.5}"
)


def write_training_report(
    task: Task, network: nn.Module, curves: Sequence[Mapping[str, float]], path: Path
) -> Path:
    """Write one HTML file that needs no other file and no network.

    Args:
        task: What was trained.
        network: What came of it.
        curves: What `read_curves` gives.
        path: `.html`.
    """
    told, pictures = task.pictures(network)
    names = list(dict.fromkeys(name for row in curves for name in row if name != "step"))
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Training</title>"
        f"<style>{STYLE}</style><h1>Training of {html.escape(type(network).__name__)}</h1>",
        *(_curve(name, curves) for name in names),
        f"<h2>Not trained on</h2><p>{html.escape(told)}</p>",
        *(_picture(pixels) for pixels in pictures),
        f"<h2>Settings</h2><table>{''.join(_row(*item) for item in task.settings.items())}</table>",
    ]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")
    return path


def _curve(name: str, curves: Sequence[Mapping[str, float]]) -> str:
    rows = [(row["step"], row[name]) for row in curves if name in row]
    values = np.array([value for _, value in rows])
    if len(values) > POINTS:  # means of neighbours: single steps are noisy
        values = np.array([part.mean() for part in np.array_split(values, POINTS)])
    told = f"{html.escape(name)}: {values[0]:.3g} → {values[-1]:.3g} in {int(rows[-1][0])} steps"
    return f"<div class='curve'>{drawn(values.tolist(), name)}<br>{told}</div>"


def _picture(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    size = (pixels.shape[1] * ENLARGED, pixels.shape[0] * ENLARGED)
    Picture.fromarray(pixels).resize(size, Picture.Resampling.NEAREST).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f"<p><img alt='not trained on' src='data:image/png;base64,{data}'></p>"


def row_of_slices(volumes: Sequence[Tensor]) -> np.ndarray:
    """Middle planes side by side, as bytes (H, W, 3).

    Args:
        volumes: (1, *S) grey values or (3, *S) colours of one size, from 0 to 1.
    """
    return np.concatenate([_slice(volume) for volume in volumes], 1)


def _slice(volume: Tensor) -> np.ndarray:
    """The middle plane across the shortest axis, as bytes."""
    if volume.ndim == 4:
        axis = min(range(1, 4), key=lambda a: volume.shape[a])
        volume = volume.select(axis, volume.shape[axis] // 2)
    colours = volume.clamp(0, 1).expand(3, *volume.shape[1:]).movedim(0, -1)
    return (255 * colours).round().to(torch.uint8).cpu().numpy()


def _row(name: str, value: Any) -> str:
    return f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
