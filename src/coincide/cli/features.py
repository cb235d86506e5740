"""coincide features."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from tyro.conf import Positional, arg

from coincide.files.atomic import atomic, suffixes
from coincide.files.write import write_image
from coincide.networks.intensity import normalised
from coincide.objective import Similarity
from coincide.registry import build, parts
from coincide.report.components import components
from coincide.report.planes import in_rows, middle_planes, upright
from coincide.scan import Scan
from coincide.space.image import Image
from coincide.space.sampling import resample


def features(
    image: Positional[Path],
    out: Annotated[Path, arg(metavar="FILE")],
    kind: Annotated[str, arg(metavar="SIMILARITY")] = "structural",
    mask: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Write the feature image that a similarity compares in place of the image itself.

    Channels are the last axis. A picture beside the file, .png, shows the middle of the image
    and, as colours, the three principal components of its features.

        coincide features t1.nii.gz --out t1_features.nii.gz
        coincide features t1.nii.gz --kind "mind_ssc(radius=2)" --out t1_mind.nii.gz

    Args:
        image: Any image file.
        out: File to write, such as .nii.gz.
        kind: A similarity that has features, such as structural, mind_ssc, mind, dns, ngf or edges,
            with its arguments.
        mask: Where the image counts; what lies outside takes no part.
    """
    term = build(kind, Similarity)
    if type(term).prepare is Similarity.prepare:
        having = [name for name, part in parts(Similarity).items() if _has_features(part)]
        raise ValueError(f"{term} compares the images themselves; features: {', '.join(having)}")
    read = Scan(image, mask=mask).read("fixed")
    for note in read.notes:
        print(f"note: {note}", file=sys.stderr)
    with torch.no_grad():
        found = term.prepare(read.image.float())
    for note in write_image(found, out):
        print(f"note: {note}", file=sys.stderr)
    picture = out.with_name(f"{out.name.removesuffix(suffixes(out))}.png")
    with atomic(picture) as temporary:
        temporary.write_bytes(drawn(read.image.float(), found))
    voxels = " x ".join(str(n) for n in found.grid.shape)
    print(f"wrote {out}, {found.data.shape[1]} features of {voxels} voxels, and {picture}")


def drawn(image: Image, found: Image) -> bytes:
    """The middle planes of an image, and under them its features as colours, as a PNG."""
    grey = normalised(image.data[:, :1]).clamp(0, 1)
    shown = image.with_data(grey.expand(-1, 3, *[-1] * image.dim)).with_mask(None)
    colours = found.with_data(components(found.data)).with_mask(None)
    planes = middle_planes(image.grid)
    return in_rows([[_bytes(resample(one, p)) for p in planes] for one in (shown, colours)])


def _has_features(part: type) -> bool:
    return part.prepare is not Similarity.prepare  # type: ignore[attr-defined]


def _bytes(plane: Image) -> np.ndarray:
    return (255 * upright(plane.data[0].numpy())).round().astype(np.uint8)
