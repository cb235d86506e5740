"""Register: the one call."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from coincide.alignment import pulled
from coincide.deform import deform
from coincide.files.accept import as_image
from coincide.initialise.content import Content, content
from coincide.initialise.contrast import same_contrast
from coincide.initialise.linear import Aligned, align
from coincide.kernels.threads import threads
from coincide.objective import Objective, Term, absent
from coincide.objective import objective as read_objective
from coincide.optimise.optimiser import Optimiser
from coincide.optimise.progress import progress
from coincide.presets import PRESETS, Preset
from coincide.presets import preset as find_preset
from coincide.registration import Candidate, Registration, Step
from coincide.registry import build, every
from coincide.space.image import Image
from coincide.transforms.linear import Affine, Linear
from coincide.transforms.transform import Transform

MARGIN = 10.0  # mm kept around the content
SMALL = 60  # voxels along an axis, on average, below which every detail counts
AIR = -500.0  # values below this are taken for Hounsfield units


def register(
    fixed: Any,
    moving: Any,
    transform: str | Transform | None = None,
    *,
    objective: str | Objective | Term | Sequence[str | Objective | Term] | None = None,
    optimiser: str | Optimiser | Sequence[str | Optimiser] | None = None,
    preset: str | Preset = "auto",
    initial: str | Transform = "search",
    device: str = "auto",
) -> Registration:
    """Bring a moving image onto a fixed one, whatever their modality.

    Both are cropped to their content and brought to a robust intensity range; a linear map is
    searched from many starts and refined; then, unless the preset says otherwise, a smooth
    deformation is optimised from coarse to fine, from where a search of the preset found the parts
    of the image. What you give overrules the preset.

    Objective and optimiser are one for all levels or one for each, coarse to fine: a sequence, or
    text divided by semicolons, such as `"lncc(radius=2); ngf; ngf"`.

    Args:
        fixed: A path, `Image`, nibabel or SimpleITK image, or an (array, affine) pair.
        moving: The same; any grid.
        transform: The deformation, a part or text such as `"velocity(spacing=4)"`; a linear one
            such as `"rigid"` ends there.
        objective: Text such as `"ngf(eta=0.5) + 0.1*bending"`, or the object. Label maps and
            landmarks take part by `objective("lncc + 0.5*labels").given("labels", fixed, moving)`.
        optimiser: Text such as `"adam(rate=0.1)"`.
        preset: A name, see `PRESETS`, or your own `Preset`.
        initial: `search`; `header` trusts the world coordinates of the files; or a transform.
        device: `auto` (CUDA where present), `cpu`, or a torch device, for the deformation.

    Returns:
        The transform, its inverse, and how they were found.

    Raises:
        ValueError: if the images cannot be registered, saying why and what would work.

    Example:
        >>> result = register(fixed, moving, preset="affine")
        >>> result.transform.forward(points).shape == points.shape
        True
    """
    begin = time.perf_counter()
    threads()
    place = _device(device)
    plan = find_preset(preset) if isinstance(preset, str) else preset
    asked = None if objective is None else [_complete(o) for o in every(objective)]
    f, m = as_image(fixed), as_image(moving)
    notes = [f"fixed image: {w}" for w in f.warnings] + [f"moving image: {w}" for w in m.warnings]
    if f.image.dim != m.image.dim:
        raise ValueError(
            f"the fixed image has {f.image.dim} axes and the moving image {m.image.dim}; "
            "give two images of the same dimension (--frame picks one of a series)"
        )
    seconds = {"read": time.perf_counter() - begin}
    plan = _overruled(plan, transform)
    if not plan.transform and (asked or optimiser):
        raise ValueError(
            f"objective and optimiser are those of a deformation, and this run ends with a "
            f"{plan.linear} map; for a linear map by other means see coincide.optimise"
        )
    start = time.perf_counter()
    shown, other = _content(f.image, plan, "fixed"), _content(m.image, plan, "moving")
    with progress() as watch:
        linear = _linear(shown, other, plan, initial, watch)
        seconds["linear"] = time.perf_counter() - start
        result, inverse = linear.transform, linear.transform.inverse()
        history, status = linear.history, f"{plan.linear}: {linear.candidates[0].name} was best"
        both = _overlapping(shown, other, linear.transform)
        if plan.transform:
            plan = _decided(plan, shown, both)
            targets = [_complete(o) for o in every(plan.objective)] if asked is None else asked
            found = deform(
                (shown, other),
                linear.transform,
                plan,
                transform=plan.transform if transform is None else transform,
                objective=targets,
                optimiser=optimiser,
                device=place,
                watch=watch,
            )
            start = time.perf_counter()
            inverse = found.transform.inverse() @ linear.transform.inverse()
            seconds |= found.seconds | {"inverse": time.perf_counter() - start}
            result = linear.transform @ found.transform
            history, status = history + found.history, f"{status}; {found.status}"
    if linear.margin < 0.005:
        notes.append(
            f"a quite different orientation scored almost as well (margin {linear.margin:.4f}); "
            "check left and right, head and foot"
        )
    for module in (result, inverse):
        module.requires_grad_(False)
    settings = {
        "preset": preset if isinstance(preset, str) else "own",
        "transform": plan.transform and str(transform or plan.transform),
        "objective": "; ".join(str(o) for o in every(objective or plan.objective)),
        "optimisers": [str(o) for o in every(optimiser or plan.optimisers)],
        "initial": initial if isinstance(initial, str) else type(initial).__name__,
        "linear": plan.linear,
        "search": plan.search,
        "steps": list(plan.steps),
        "window": list(plan.window),
        "device": device,
    }
    return Registration(
        fixed=f.image,
        moving=m.image,
        transform=result,
        inverse=inverse,
        history=history,
        candidates=linear.candidates,
        settings=settings,
        status=status,
        seconds=seconds,
        warnings=tuple(notes),
    )


def _overruled(plan: Preset, transform: str | Transform | None) -> Preset:
    """The preset with a deformation if one was asked for, without if a linear transform was."""
    part = build(transform, Transform) if isinstance(transform, str) else transform
    if part is None:
        if plan.search and not plan.transform:
            raise ValueError(f"{plan.search} finds a deformation; use a preset that has one")
        return plan
    if not isinstance(part, Linear):
        return replace(plan, transform=part.name)  # type: ignore[attr-defined]
    return replace(plan, linear=part.name, transform="", search="")  # type: ignore[attr-defined]


def _complete(given: str | Objective | Term) -> Objective:
    """The objective, if every term has what it compares."""
    target = read_objective(given)
    if target.absent:
        raise ValueError(absent(target.absent[0]))
    return target


def _content(image: Image, plan: Preset, name: str) -> Content:
    image = image.float()
    if plan.window and float(image.data.min()) < AIR:
        low, high = plan.window
        image = image.with_data(image.data.clamp(low, high))
    return content(image, margin=MARGIN, name=name)


def _linear(
    fixed: Content,
    moving: Content,
    plan: Preset,
    initial: str | Transform,
    watch: Callable[[Step], None],
) -> Aligned:
    if isinstance(initial, Linear):
        return Aligned(Affine(initial.numpy()), (Candidate("given", 0.0),), np.inf, ())
    if isinstance(initial, Transform):
        raise ValueError(
            f"the initial transform must be linear, not {type(initial).__name__}; "
            "compose a deformation yourself: result.transform @ initial"
        )
    if initial not in ("search", "header"):
        raise ValueError(f"initial is 'search', 'header' or a transform, not {initial!r}")
    if initial == "header":
        matrix = np.eye(fixed.image.dim + 1)
        return Aligned(Affine(matrix), (Candidate("header", 0.0),), np.inf, ())
    return align(fixed, moving, kind=plan.linear, watch=watch)


def _overlapping(fixed: Content, moving: Content, linear: Linear) -> Image:
    """The moving image under the linear map, masked to where both images show something."""
    linear.requires_grad_(False)
    warped = pulled(moving.image, linear, fixed.image.grid)
    both = fixed.inside * (warped.mask if warped.mask is not None else 1)
    if float(both.sum()) < 16:
        raise ValueError(
            "the two images do not overlap; check that they show the same anatomy, or give an "
            "initial transform"
        )
    return warped.with_mask(both)


def _decided(plan: Preset, fixed: Content, warped: Image) -> Preset:
    """The preset with what it leaves open: chosen by size, and by whether the contrasts agree."""
    if plan.objective:
        return plan
    if np.prod(fixed.image.grid.shape) < SMALL**fixed.image.dim:
        chosen = PRESETS["small"]
    else:
        same = same_contrast(fixed.image, warped)
        chosen = PRESETS["brain-mr" if same else "brain-multimodal"]
    steps = plan.steps or chosen.steps
    return replace(plan, objective=chosen.objective, optimisers=chosen.optimisers, steps=steps)


def _device(name: str) -> torch.device:
    """The device to deform on."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        here = "auto, cpu, cuda" if torch.cuda.is_available() else "auto, cpu"
        raise ValueError(f"cannot use the device {name!r}; known here: {here}") from None
    return device
