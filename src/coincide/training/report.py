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
from coincide.report.components import components
from coincide.report.curves import drawn
from coincide.training.structural import HELD_OUT, KEPT, StructuralTask, smoothed

SHOWN = 4  # pairs of views
POINTS = 400  # of a curve
ENLARGED = 5  # pixels of a voxel
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a2b2b}table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"
    "img{image-rendering:pixelated}.curve{margin:0 2rem 1rem 0;display:inline-block}"
    "path,polyline{fill:none;stroke:#00695f;stroke-width:1.5}"
)


def write_training_report(
    task: StructuralTask, network: nn.Module, curves: Sequence[Mapping[str, float]], path: Path
) -> Path:
    """Write one HTML file that needs no other file and no network.

    Args:
        task: What was trained.
        network: What came of it.
        curves: What `read_curves` gives.
        path: `.html`.
    """
    names = list(dict.fromkeys(name for row in curves for name in row if name != "step"))
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Training</title>"
        f"<style>{STYLE}</style><h1>Training of {html.escape(type(network).__name__)}</h1>",
        *(_curve(name, curves) for name in names),
        "<h2>Unseen views</h2><p>From left to right: a view, its descriptors, a view of the same "
        "anatomy in another contrast and at another place, its descriptors. Descriptors are drawn "
        "as three colours, the same in both views; where they agree, so do the colours.</p>",
        *(_views(task, network, number) for number in range(SHOWN)),
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


@torch.no_grad()
def _views(task: StructuralTask, network: nn.Module, number: int) -> str:
    two = task.pair(HELD_OUT + KEPT * number)
    found = smoothed(
        network(two.images.to(next(network.parameters()).device)).cpu(), task.recipe.sigma
    )
    colours = components(found).movedim(1, -1)
    shown = []
    for view in range(2):
        grey = two.images[view, 0].clamp(0, 1)[..., None].expand(-1, -1, -1, 3)
        shown += [_slice(grey), _slice(colours[view])]
    picture = np.concatenate(shown, 1)
    stream = io.BytesIO()
    size = (picture.shape[1] * ENLARGED, picture.shape[0] * ENLARGED)
    Picture.fromarray(picture).resize(size, Picture.Resampling.NEAREST).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f"<p><img alt='two views and their descriptors' src='data:image/png;base64,{data}'></p>"


def _slice(volume: Tensor) -> np.ndarray:
    """The middle plane across the shortest axis, as bytes."""
    axis = min(range(3), key=lambda a: volume.shape[a])
    plane = volume.select(axis, volume.shape[axis] // 2)
    return (255 * plane).round().to(torch.uint8).numpy()


def _row(name: str, value: Any) -> str:
    return f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
