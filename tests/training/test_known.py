"""Landmarks, transforms and simulated pairs: what is known, and what a step makes of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coincide.cli.main import main
from coincide.files.itk import write_transform
from coincide.files.points import write_points
from coincide.files.write import write_image
from coincide.networks.model_file import read_model
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample, sample
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.training.batches import Batches, balanced
from coincide.training.cases import find_cases
from coincide.training.known import Known, read_known
from coincide.training.loop import Schedule, train
from coincide.training.pairs import PairsTask
from coincide.training.pairs_recipe import PairsRecipe
from coincide.training.simulated import simulated
from coincide.training.subjects import read_subjects
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine

PREDICTOR = "voxelmorph(widths=(8, 16), diffeomorphic=False, dim=2)"
SHIFT = np.array([30.0, -12.0])  # from the world of the fixed to that of the moving image, mm
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four pairs of bent phantoms, each moving image in another world and on another grid."""
    place = tmp_path_factory.mktemp("pairs")
    rows = ["fixed,moving,fixed_points,moving_points,transform"]
    for number in range(4):
        fixed = textured((40, 36), seed=number).image
        bent = smooth_displacement(fixed.grid, peak=3, sigma=8, seed=number).requires_grad_(False)
        part = fixed.grid.crop((0, 0), (38 - number, 36))
        moving = resample(fixed, part, bent.inverse().displacement(part))
        far = part.affine.copy()
        far[:2, -1] += SHIFT
        away = np.eye(3)
        away[:2, -1] = SHIFT
        whole = Composite((Affine(away), bent))
        points = fixed.grid.centre + np.random.default_rng(number).uniform(-9, 9, (5 + number, 2))
        write_image(fixed, place / f"f{number}.nii.gz")
        write_image(Image(moving.data, Grid(part.shape, far)), place / f"m{number}.nii.gz")
        write_points(points, place / f"f{number}.csv")
        write_points(whole(points), place / f"m{number}.csv")
        write_transform(whole, place / f"t{number}.h5", grid=fixed.grid)
        rows.append(f"f{number}.nii.gz,m{number}.nii.gz,f{number}.csv,m{number}.csv,t{number}.h5")
    (place / "pairs.csv").write_text("\n".join(rows) + "\n")
    return place / "pairs.csv"


@pytest.fixture(scope="module")
def all_known(table):
    cases = find_cases(table, validation=1)
    subjects = read_subjects(cases.cases, alignment="centre")
    return cases, subjects, read_known(cases, subjects)


def without(known: Known, *pairs: tuple[int, int], of: str = "fields") -> Known:
    return replace(known, **{of: {p: v for p, v in getattr(known, of).items() if p not in pairs}})


def test_points_and_transforms_follow_the_images_to_the_common_grid(all_known):
    cases, subjects, known = all_known
    assert len(known.points) == len(known.fields) == 4
    for pair, (here, there) in known.points.items():
        field = Displacement(field=known.fields[pair].float(), grid=subjects.grid)
        np.testing.assert_allclose(field(here), there, atol=0.05)
        # the same grey values where the same points are
        images = [subjects.images([i]) for i in pair]
        one, other = (
            sample(image, torch.as_tensor(points)[None])[0]
            for image, points in zip(images, (here, there), strict=True)
        )
        assert float((one - other).abs().mean()) < 0.05
    header = read_subjects(cases.cases)
    pair = next(iter(cases.beside))
    here, there = read_known(cases, header).points[pair]
    assert np.all(np.abs((there - here).mean(0) - SHIFT) < 3)


@pytest.mark.parametrize("augmented", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_points_of_a_batch_stay_where_they_belong(all_known, augmented, share):
    """However a step turns, bends and stretches the images, the same points show the same."""
    cases, subjects, known = all_known
    batches = Batches(
        subjects,
        known,
        ("landmarks", "field"),
        points=300,
        augmented=augmented,
        simulated=share,
    )
    random = torch.Generator().manual_seed(1)
    chosen = list(cases.training[:2])
    batch = batches.drawn(chosen, random, CPU)
    for name in ("landmarks", "field"):
        sides = batch.data[name]
        assert sides[0].shape == sides[1].shape
        values = []
        for image, points in zip((batch.fixed, batch.moving), sides, strict=True):
            found, inside = sample(image, torch.as_tensor(points).nan_to_num(1e6))
            values.append(torch.where(inside > 0.99, found, torch.nan))
        gap = (values[0] - values[1])[..., 0]
        for one in gap if not augmented else []:
            assert float(one[~one.isnan()].abs().mean()) < 0.06
        if augmented:  # each side passes through a curve of intensities of its own
            kept = [v[0, :, 0][~gap[0].isnan()].numpy() for v in values]
            assert len(kept[0]) > 4
            assert np.corrcoef(kept[0], kept[1])[0, 1] > 0.9
    counts = (~np.isnan(batch.data["landmarks"][0][..., 0])).sum(1)
    assert counts.tolist() == [len(known.points[pair][0]) for pair in chosen]


def test_all_lengths_of_displacement_are_drawn():
    grid = textured((60, 60), seed=1).image.grid
    field = smooth_displacement(grid, peak=4, sigma=5, seed=2).field.detach()[0]
    weight = torch.ones(60, 60)
    weight[:, :20] = 0
    voxels = balanced(field, weight, 2000, torch.Generator().manual_seed(0))
    assert bool((weight.flatten()[voxels] > 0).all())
    length = field.norm(dim=0)
    seen, there = length.flatten()[voxels], length[:, 20:].flatten()
    long = float(there.quantile(0.95))
    rare = float((there > 0.9 * long).float().mean())
    drawn = float((seen > 0.9 * long).float().mean())
    # a tenth of a half for each of ten lengths, and what an even draw gives besides
    assert drawn == pytest.approx(0.05 + rare / 2, abs=0.02)
    short = float((seen < 0.1 * long).float().mean())
    assert short == pytest.approx(0.05 + float((there < 0.1 * long).float().mean()) / 2, abs=0.02)
    assert float((there < 0.1 * long).float().mean()) > 0.2


def test_a_simulated_pair_is_the_fixed_image_bent_by_the_field(all_known):
    _, subjects, _ = all_known
    fixed = subjects.images([0, 2])
    labels = Image((fixed.data > 0.5).long(), fixed.grid)
    moving, maps, field = simulated(fixed, labels, torch.Generator().manual_seed(3))
    assert maps is not None
    assert field.norm(dim=1).flatten(1).max(1).values.min() > 1
    back = resample(moving, fixed.grid, field)
    inside = back.weight() * fixed.weight() > 0.99
    before, after = ((i.data - fixed.data).abs()[inside].mean() for i in (moving, back))
    assert float(after) < 0.4 * float(before)
    same = resample(maps, fixed.grid, field, interpolation="label").data == labels.data
    assert float(same[inside].float().mean()) > 0.97
    again = simulated(fixed, None, torch.Generator().manual_seed(3))[2]
    assert torch.equal(field, again)
    assert not torch.equal(field, simulated(fixed, None, torch.Generator().manual_seed(4))[2])


def trained(all_known, recipe, folder, steps=70, known=None):
    """What is said at the end of a training."""
    cases, subjects, whole = all_known
    said = []
    task = PairsTask(recipe, cases, subjects, known or whole)
    schedule = Schedule(steps=steps, validated=steps, warm=10, rate=5e-3, average=0.9)
    train(task, schedule, folder, watch=said.append)
    return said[-1].numbers


def test_landmarks_alone_bring_points_together(all_known, tmp_path):
    """Each pair of a batch by its own points; and the error is told of pairs held out."""
    recipe = PairsRecipe(predictor=PREDICTOR, objective="landmarks + 0.1*diffusion")
    cases, subjects, known = all_known
    task = PairsTask(recipe, cases, subjects, known)
    assert task.score == "landmarks held out"
    first = task.loss(task.network, 0)[1]["landmarks"]
    numbers = trained(all_known, recipe, tmp_path)
    assert numbers["landmarks"] < 0.5 * first
    assert numbers["landmarks held out"] == -numbers["tre mm"]
    assert numbers["tre before mm"] > 0
    assert "field mm" in numbers


def test_given_fields_are_learned(all_known, tmp_path):
    recipe = PairsRecipe(predictor=PREDICTOR, objective="field(points=500)")
    cases, subjects, known = all_known
    first = PairsTask(recipe, cases, subjects, Known(fields=known.fields))
    assert first.score == "field held out"
    before = first.loss(first.network, 0)[1]["field(points=500)"]
    assert trained(all_known, recipe, tmp_path)["field(points=500)"] < 0.4 * before


def test_patches_learn_from_simulated_pairs(all_known, tmp_path):
    """No transform is given, and what was never seen is found."""
    recipe = PairsRecipe(
        predictor="steered(widths=(8, 16, 32), apart=3, dim=2)",
        objective="field(points=60)",
        simulated=1.0,
    )
    cases, subjects, known = all_known
    bare = Known(points=known.points)
    numbers = trained((cases, subjects, bare), recipe, tmp_path, steps=150, known=bare)
    assert numbers["field mm"] < 0.85 * numbers["field before mm"]


def test_a_pair_without_its_data_is_trained_by_the_other_terms(all_known):
    cases, subjects, known = all_known
    one, two = cases.training[:2]
    recipe = PairsRecipe(predictor=PREDICTOR, objective="mse + landmarks + field")
    task = PairsTask(recipe, cases, subjects, without(without(known, two), two, of="points"))
    batch = task.batches.drawn([one, two], torch.Generator().manual_seed(0), CPU)
    for name in ("landmarks", "field"):
        assert np.isnan(batch.data[name][0][1]).all()
        assert not np.isnan(batch.data[name][0][0]).all()
    total, _ = task.loss(task.network, 0)
    total.backward()
    slopes = [p.grad for p in task.network.parameters()]
    assert all(s is not None and bool(s.isfinite().all()) for s in slopes)


def test_what_is_not_known_cannot_be_trained_on(all_known, table):
    cases, subjects, known = all_known
    lost = without(known, cases.training[0])

    def made(objective, given=known, **more):
        recipe = PairsRecipe(predictor=PREDICTOR, objective=objective, **more)
        return PairsTask(recipe, cases, subjects, given)

    with pytest.raises(ValueError, match="'field', but no pair has one; fill the column transform"):
        made("mse + field", Known())
    with pytest.raises(ValueError, match="no pair has one; fill fixed_points"):
        made("mse + landmarks", Known())
    with pytest.raises(ValueError, match="compares field alone, and the pair f"):
        made("field + diffusion", lost)
    with pytest.raises(ValueError, match="compares field alone"):
        made("field", lost, simulated=0.5)
    made("mse + field", lost)
    made("mse + field", Known(), simulated=0.5)
    made("field", Known(), simulated=1.0)
    with pytest.raises(ValueError, match="leave out --simulated"):
        made("mse", simulated=0.5)
    with pytest.raises(ValueError, match="leave out --warm"):
        made("field", warm=0.5)
    with pytest.raises(ValueError, match="itself lists the labels"):
        find_cases(table, "_T1=_label")
    other = table.with_name("other.csv")
    other.write_text("fixed,moving,fixed_points\nf0.nii.gz,m0.nii.gz,f0.csv\n")
    with pytest.raises(ValueError, match="points of one image alone"):
        find_cases(other)
    other.write_text("fixed,moving,transform\nf0.nii.gz,m0.nii.gz,none.h5\n")
    with pytest.raises(FileNotFoundError, match=r"none\.h5, which is not there"):
        find_cases(other)
    rows = "f0.nii.gz,m0.nii.gz,t0.h5\nf0.nii.gz,m0.nii.gz,t1.h5\n"
    other.write_text(f"fixed,moving,transform\n{rows}")
    with pytest.raises(ValueError, match=r"listed twice"):
        find_cases(other)
    points = "fixed_points,moving_points\nf0.nii.gz,m0.nii.gz,f0.csv,m1.csv\n"
    other.write_text(f"fixed,moving,{points}")
    wrong = find_cases(other)
    with pytest.raises(ValueError, match=r"has points \(5, 2\) and .* \(6, 2\)"):
        read_known(wrong, read_subjects(wrong.cases))
    write_transform(Affine(np.eye(4)), table.with_name("solid.tfm"))
    other.write_text("fixed,moving,transform\nf0.nii.gz,m0.nii.gz,solid.tfm\n")
    wrong = find_cases(other)
    with pytest.raises(ValueError, match=r"solid\.tfm has 3 axes, the images or points have 2"):
        read_known(wrong, read_subjects(wrong.cases))


def test_other_fields_are_another_training(all_known):
    cases, subjects, known = all_known
    recipe = PairsRecipe(predictor=PREDICTOR, objective="mse + field")
    one = PairsTask(recipe, cases, subjects, known)
    fields = {pair: field + 1 for pair, field in known.fields.items()}
    other = PairsTask(recipe, cases, subjects, replace(known, fields=fields))
    assert one.settings != other.settings


def test_the_command_trains_on_a_table_of_transforms(table, tmp_path):
    out = tmp_path / "m.safetensors"
    command = ["train", str(table), "--align", "centre", "--validation", "1", "--steps", "2"]
    command += ["--predictor", "steered(dim=2)", "--objective", "field(points=20) + landmarks"]
    main([*command, "--simulated", "0.5", "--out", str(out)])
    card = read_model(out)[1]
    assert {"tre mm", "field mm", "folding %"} <= set(card["numbers"])
    assert card["data"]["simulated"] == 0.5
    images = [str(table.with_name(f"{side}0.nii.gz")) for side in "fm"]
    ways = f"predict(model={str(out)!r}) >> displacement"
    main(["register", *images, "--ways", ways, "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "transform.h5").exists()
