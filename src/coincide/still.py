"""Still: a picture of a result for notebooks, and the viewer that they can hold."""

import base64
import html as markup
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.files.write import write_image
from coincide.registration import Registration
from coincide.report.planes import in_rows, middle_planes, upright
from coincide.space.image import Image
from coincide.space.sampling import resample

LOW, HIGH = 1.0, 99.0  # percentiles shown as black and white


def html(result: Registration) -> str:
    """What a notebook shows of a result: the sentence, a picture, and what needs a look."""
    picture = base64.b64encode(still(result)).decode()
    notes = "".join(f"<li>{markup.escape(note)}</li>" for note in result.warnings)
    return (
        f"<div><p>{markup.escape(result.status)}</p>"
        f'<img src="data:image/png;base64,{picture}" '
        'alt="middle slices of the fixed image, before and after the registration">'
        "<p>The fixed image in green over the moving one in magenta, before (above) and after "
        f"(below): where they agree it is grey.</p>{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def still(result: Registration) -> bytes:
    """The middle slices of the fixed image with the moving one over it, as the bytes of a PNG.

    Above, the images as the files place them; below, as registered.
    """
    fixed, transform = result.fixed, result.transform
    rows = []
    planes = middle_planes(fixed.grid)
    with torch.no_grad():
        for registered in (False, True):
            shown = []
            for plane in planes:
                field = transform.displacement(plane) if registered else None
                moving = resample(result.moving, plane, field)
                here = _grey(resample(fixed, plane), fixed)
                shown.append(_fused(here, _grey(moving, result.moving)))
            rows.append(shown)
    return in_rows(rows)


def show(result: Registration) -> Any:
    """The fixed image and, half transparent over it, the warped one, in a notebook.

    Raises:
        ModuleNotFoundError: saying what to install.
    """
    try:
        from ipyniivue import NiiVue
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "result.show() needs ipyniivue: pip install 'coincide[notebook]'; result.report(path) "
            "writes a page that needs nothing"
        ) from None
    place = Path(tempfile.mkdtemp(prefix="coincide-"))
    volumes = []
    looks = {"fixed": ("gray", 1.0), "warped": ("warm", 0.5)}
    for name, (colours, opacity) in looks.items():
        write_image(getattr(result, name), place / f"{name}.nii.gz")
        path = str(place / f"{name}.nii.gz")
        volumes.append({"path": path, "name": name, "colormap": colours, "opacity": opacity})
    viewer = NiiVue()
    # the viewer reads the files when it is drawn, so they stay as long as it does
    weakref.finalize(viewer, shutil.rmtree, place, ignore_errors=True)
    viewer.load_volumes(volumes)
    return viewer


def _grey(plane: Image, whole: Image) -> np.ndarray:
    """A plane as rows of the screen, from 0 to 1 between percentiles of the whole image."""
    values = whole.data[0].float().mean(0).flatten()
    low, high = np.percentile(values[:: max(1, len(values) // 100_000)].numpy(), [LOW, HIGH])
    data = upright(plane.data[0].float().mean(0, keepdim=True).numpy())[..., 0]
    return np.clip((data - low) / max(high - low, 1e-12), 0, 1)


def _fused(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Green and magenta, which make grey where the two are alike."""
    return (255 * np.stack([moving, fixed, moving], -1)).astype(np.uint8)
