"""coincide train."""

import sys
import time
from dataclasses import dataclass, fields
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import nn
from tyro.conf import Positional, arg

from coincide.cli.train_progress import watched
from coincide.files.atomic import atomic
from coincide.networks.model_file import model_bytes
from coincide.networks.precision import Precision, knows_bfloat16
from coincide.predictors.model import save_model
from coincide.training.aligned import aligned_images
from coincide.training.autoencoder import AutoencoderRecipe, AutoencoderTask
from coincide.training.cases import find_cases
from coincide.training.images import grey_images
from coincide.training.known import read_known
from coincide.training.loop import CURVES, Schedule, Task, read_curves
from coincide.training.loop import train as run
from coincide.training.metric import MetricRecipe, MetricTask
from coincide.training.pairs import PairsTask
from coincide.training.pairs_recipe import PairsRecipe
from coincide.training.report import write_training_report
from coincide.training.structural import Recipe, StructuralTask
from coincide.training.subjects import read_subjects

STRUCTURAL, METRIC, AUTOENCODER = "structural", "metric", "autoencoder"


@dataclass(frozen=True)
class TrainOptions:
    """How it is trained.

    Args:
        steps: Updates of the weights.
        minutes: Time instead of steps.
        seed: Of the weights and of everything that is seen.
        rate: Largest learning rate; 0: 7e-4 for structural, 1e-3 for an autoencoder, 2e-3 for a
            predictor, 3e-3 for a metric.
        precision: Numbers of the network: bfloat16 is faster where the device knows it, and
            float32 elsewhere.
        device: cpu or cuda.
        devices: How many of them, each with a process of its own, whose gradients are averaged;
            more than one takes lightning-fabric.
        patience: Validations, one every 500 steps, without a better score of what is held out (Dice
            of labels, else similarity; places found again) after which it ends; 0: it goes on.
    """

    steps: int = 20_000
    minutes: float = 0.0
    seed: int = 0
    rate: float = 0.0
    precision: Precision = "float32"
    device: str = "cpu"
    devices: int = 1
    patience: int = 0

    def schedule(self, rate: float, warm: int, average: float = Schedule.average) -> Schedule:
        """The same for the loop."""
        return Schedule(
            steps=0 if self.minutes else self.steps,
            minutes=self.minutes,
            rate=self.rate or rate,
            warm=warm,
            average=average,
            validated=500,
            patience=self.patience,
            device=self.device,
            devices=self.devices,
        )


@dataclass(frozen=True)
class ImageOptions:
    """What structural, metric and autoencoder are trained on.

    Args:
        images: Images, or folders of images: for structural those that views are also taken from,
            for metric two folders of aligned images, for autoencoder those of one contrast.
    """

    images: Annotated[tuple[Path, ...], arg(metavar="PATH")] = ()


@dataclass(frozen=True)
class PairOptions:
    """What a predictor is trained to do.

    Args:
        predictor: Which network, such as pyramid or "voxelmorph(widths=(16, 32, 32, 32))".
        objective: What is lowered: similarities, penalties on the velocity, and labels, landmarks
            and field where these are known.
        fixed: Images of a BIDS data set that stay, as their names say: T1w, or ses-1_T1w. Alone,
            they make pairs of different subjects.
        moving: Images of a BIDS data set that are mapped, of the same subject as the fixed one:
            T2w, or ses-2_T1w.
        labels: Folder with label maps of the same names as the images, or what to replace in
            these, such as _T1=_label; of a BIDS data set what the names of its dseg say, such as
            desc-aseg, where there are several. They score pairs held out, and are trained on only
            where the objective has the term labels.
        align: Where the images of a pair lie at first: header, as their files say; or centre, their
            middles on each other.
        spacing: Voxel edge, mm; 0: that of the images, or as fine as 400 000 voxels allow.
        validation: Images to hold out, subjects of a BIDS data set, or pairs of a table; 0: a
            fifth, at most 40.
        warm: Share of the steps, from the first, that compare by mse, ten times: what networks
            that see both images at once need to begin. Only for images of one contrast.
        augmented: How often a pair is turned, stretched and shown otherwise.
        simulated: How often the moving image is the fixed one under a random deformation, whose
            field is known; 1: always.
        start: Model to go on from, of the same predictor, such as one of other images.
    """

    predictor: str = PairsRecipe.predictor
    objective: str = PairsRecipe.objective
    fixed: str = ""
    moving: str = ""
    labels: str = ""
    align: Literal["header", "centre"] = "header"
    spacing: float = 0.0
    validation: int = 0
    warm: float = 0.0
    augmented: float = 0.0
    simulated: float = 0.0
    start: str = ""


def train(
    what: Annotated[Positional[str], arg(metavar="WHAT")],
    out: Annotated[Path, arg(metavar="FILE")],
    options: Annotated[TrainOptions, arg(name="")],
    images: Annotated[ImageOptions, arg(name="")],
    pairs: Annotated[PairOptions, arg(name="")],
    work: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Train a network and write its weights, with what they were made from, into one file.

    A folder of images, or a table of pairs: a predictor, which then says in one look how one image
    is bent onto another. `structural`: features that are alike whatever the contrast, from random
    shapes alone; images may be added, without labels and without partners. Training may be stopped
    at any time, even killed; the same command goes on where it was.

    `metric`: a similarity, `learned_metric`, from a few aligned pairs of two modalities: two
    folders, whose images belong together in the order of their names and lie on one grid, pair by
    pair. Every fifth pair is kept back to tell how good it is. Without images it learns from random
    shapes in random contrasts. `autoencoder`: features of one modality, from its images alone.

        coincide train my_scans --out mine.safetensors --minutes 60
        coincide train pairs.csv --predictor voxelmorph --warm 0.4 --out mine.safetensors
        coincide train structural --out mine.safetensors --images my_scans --minutes 60
        coincide train metric --out metric.safetensors --images t1_folder t2_folder --minutes 10

    Args:
        what: Folder, such as one of BIDS, pattern such as "scans/*_T1.nii.gz", pairs as .csv or as
            .json of Learn2Reg; or structural, metric or autoencoder.
        out: File of weights, .safetensors; a page of curves is written beside it.
        options: How it is trained.
        images: What the others are trained on.
        pairs: What a predictor is trained to do.
        work: Folder for checkpoints and curves. Without it: beside the file.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, not as {out.name}")
    if options.precision == "bfloat16" and not knows_bfloat16(torch.device(options.device)):
        print("note: this processor has no instructions for bfloat16; float32 is computed")
    folder = work or out.with_name(f"{out.stem}-training")
    begin = time.monotonic()
    if what in IMAGES_ALONE:
        _refused(pairs, f"training {what}")
        page = IMAGES_ALONE[what](images, options, folder, out)
    else:
        _refused(images, "training a predictor")
        page = _predictor(what, pairs, options, folder, out)
    print(f"wrote {out} and {page} after {(time.monotonic() - begin) / 60:.1f} min")


def _structural(given: ImageOptions, options: TrainOptions, folder: Path, out: Path) -> Path:
    found, names = grey_images(given.images)
    recipe = Recipe(seed=options.seed, precision=options.precision)
    task = StructuralTask(recipe, found, names=names)
    return _written(task, options.schedule(rate=7e-4, warm=100), folder, out)


def _metric(given: ImageOptions, options: TrainOptions, folder: Path, out: Path) -> Path:
    _single(METRIC, options)
    found, names = aligned_images(given.images) if given.images else ([], [])
    task = MetricTask(MetricRecipe(seed=options.seed), found, names=names)
    # patches differ less than whole images do, so the last hundred steps are average enough
    schedule = options.schedule(rate=3e-3, warm=30, average=0.99)
    return _written(task, schedule, folder, out)


def _autoencoder(given: ImageOptions, options: TrainOptions, folder: Path, out: Path) -> Path:
    _single(AUTOENCODER, options)
    found, names = grey_images(given.images)
    task = AutoencoderTask(AutoencoderRecipe(seed=options.seed), found, names=names)
    return _written(task, options.schedule(rate=1e-3, warm=50, average=0.99), folder, out)


def _written(
    task: StructuralTask | MetricTask | AutoencoderTask, schedule: Schedule, folder: Path, out: Path
) -> Path:
    network = _trained(task, schedule, folder)
    with atomic(out) as temporary:
        temporary.write_bytes(model_bytes(network, task.card(_numbers(folder))))
    return _page(task, network, folder, out)


def _trained(task: Task, schedule: Schedule, folder: Path) -> nn.Module:
    with watched() as watch:
        network = run(task, schedule, folder, watch=watch)
    if not task.leads:  # the first process writes the weights
        sys.exit(0)
    return network


def _single(what: str, options: TrainOptions) -> None:
    if options.precision != "float32":
        raise ValueError(f"training {what} takes float32 alone, not {options.precision}")


IMAGES_ALONE = {STRUCTURAL: _structural, METRIC: _metric, AUTOENCODER: _autoencoder}


def _predictor(
    what: str, given: PairOptions, options: TrainOptions, folder: Path, out: Path
) -> Path:
    recipe = PairsRecipe(
        predictor=given.predictor,
        objective=given.objective,
        seed=options.seed,
        warm=given.warm,
        augmented=given.augmented,
        precision=options.precision,
        simulated=given.simulated,
        start=given.start,
    )
    cases = find_cases(
        what, given.labels, fixed=given.fixed, moving=given.moving, validation=given.validation
    )
    subjects = read_subjects(cases.cases, spacing=given.spacing, alignment=given.align)
    task = PairsTask(recipe, cases, subjects, read_known(cases, subjects))
    if not cases.held:
        print("note: no image is held out, so the numbers flatter; give more images")
    schedule = options.schedule(rate=2e-3, warm=50)
    network = _trained(task, schedule, folder)
    assert isinstance(network, type(task.network))
    save_model(network, task.card(_numbers(folder)), out)
    return _page(task, network, folder, out)


def _numbers(folder: Path) -> dict[str, Any]:
    """What a card says of how it was trained."""
    curves = read_curves(folder / CURVES)
    return {
        "made": date.today().isoformat(),
        "version": version("coincide"),
        "steps": int(curves[-1]["step"]),
        "numbers": {name: value for name, value in curves[-1].items() if name != "step"},
    }


def _page(task: Task, network: Any, folder: Path, out: Path) -> Path:
    curves = read_curves(folder / CURVES)
    return write_training_report(task, network, curves, out.with_suffix(".html"))


def _refused(options: ImageOptions | PairOptions, what: str) -> None:
    """Options that have no meaning here are no silent wish."""
    given = [f.name for f in fields(options) if getattr(options, f.name) != f.default]
    if given:
        raise ValueError(f"{what} takes no --{', --'.join(given)}")
