"""Training on pairs: what is read, what is lowered, and that it goes on where it was stopped."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.networks.model_file import read_model, weights_hash
from coincide.objective import objective
from coincide.penalties.diffusion import Diffusion
from coincide.predictors.cost import cost
from coincide.predictors.model import load_model
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.noise import SPREAD, numbered
from coincide.synthetic.phantoms import textured
from coincide.training import loop
from coincide.training.augment import moved
from coincide.training.cases import find_cases
from coincide.training.loop import Schedule, train
from coincide.training.pairs import PairsTask
from coincide.training.pairs_recipe import PairsRecipe
from coincide.training.subjects import read_subjects
from coincide.transforms.velocity import Velocity

PREDICTOR = "pyramid(widths=(4, 8), hidden=(8, 8), dim=2)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven bent copies of one phantom, of other sizes and at other places, with labels."""
    place = tmp_path_factory.mktemp("scans")
    phantom = textured((40, 36), seed=1)
    grid = phantom.image.grid
    for number in range(7):
        bent = smooth_displacement(grid, peak=2.5, sigma=6, seed=number).field.detach()
        part = grid.crop((0, 0), (40 - number % 3, 36 - number % 2))
        far = part.affine.copy()
        far[:2, -1] += 5 * number
        for name, volume in (("T1", phantom.image), ("label", phantom.labels)):
            how = "linear" if name == "T1" else "label"
            whole = resample(volume, grid, bent, interpolation=how)
            seen = resample(whole, part, interpolation=how).data
            write_image(Image(seen, Grid(part.shape, far)), place / f"s{number}_{name}.nii.gz")
    return place


@pytest.fixture(scope="module")
def known(folder):
    cases = find_cases(folder, "_T1=_label", validation=2)
    return cases, read_subjects(cases.cases, alignment="centre")


RECIPE = PairsRecipe(predictor=PREDICTOR)


def task(known, recipe=RECIPE):
    return PairsTask(recipe, *known)


def hashed(network) -> str:
    return weights_hash(network.state_dict())


def test_a_folder_is_all_pairs_of_the_images_that_are_not_held_out(folder):
    cases = find_cases(folder, "_T1=_label", validation=2)
    assert len(cases.cases) == 7
    assert len(cases.training) == 5 * 4
    assert len(cases.held) == 2
    held = {i for pair in cases.validation for i in pair}
    assert not held & {i for pair in cases.training for i in pair}
    assert {cases.cases[i].image.name for i in held} == set(cases.held)
    assert all(str(c.labels).replace("label", "T1") == str(c.image) for c in cases.cases)
    pattern = find_cases(f"{folder}/*_T1.nii.gz", validation=2)
    assert pattern.held == cases.held
    assert pattern.cases[0].labels is None


def test_a_table_and_a_data_set_list_their_pairs(folder):
    table = folder / "pairs.csv"
    rows = [f"s{a}_T1.nii.gz,s{b}_T1.nii.gz,s{a}_label.nii.gz,\n" for a, b in ((0, 1), (2, 3))]
    table.write_text("fixed,moving,fixed_labels,moving_labels\n" + "".join(rows))
    cases = find_cases(table, validation=1)
    assert len(cases.training) == len(cases.validation) == 1
    assert set(cases.training[0]) | set(cases.validation[0]) == {0, 1, 2, 3}
    assert [case.labels is None for case in cases.cases] == [False, True, False, True]
    told = {
        "training": [
            {"image": f"./s{n}_T1.nii.gz", "label": f"./s{n}_label.nii.gz"} for n in range(5)
        ]
    }
    learn2reg = folder / "set.json"
    learn2reg.write_text(json.dumps(told))
    assert len(find_cases(learn2reg, validation=1).training) == 4 * 3
    pair = {"fixed": "./s0_T1.nii.gz", "moving": "./s1_T1.nii.gz"}
    learn2reg.write_text(json.dumps(told | {"training_paired_images": [pair]}))
    found = find_cases(learn2reg)
    assert found.training == found.validation == ((0, 1),)
    assert found.held == ()
    assert found.cases[1].labels is not None
    for file in (table, learn2reg):
        file.unlink()


def test_lists_that_cannot_be_used_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_cases(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there are no labels"):
        find_cases(folder, "_T1=_outline")
    with pytest.raises(ValueError, match="cannot be held out"):
        find_cases(folder, "_T1=_label", validation=6)
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column 'fixed'"):
        find_cases(tmp_path / "p.csv")
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ValueError, match="no data set of Learn2Reg"):
        find_cases(tmp_path / "p.json")


def test_middles_lie_on_each_other_and_voxels_are_not_interpolated(known, folder):
    cases, subjects = known
    assert subjects.grid.shape == (40, 36)
    for number, case in enumerate(cases.cases):
        inside = subjects.masks[number][0, 0]
        rows = inside.any(1).nonzero().flatten()
        assert abs(float(rows.float().mean()) - 19.5) <= 0.51
        labels = subjects.labels[number]
        assert labels is not None
        from coincide.files.read import read_labels

        assert case.labels is not None
        assert labels.unique().tolist() == read_labels(case.labels).data.unique().tolist()
    header = read_subjects(find_cases(folder, "_T1=_label").cases)
    # the last lies 30 mm from the first along both axes
    assert header.grid.shape[0] >= 68
    first, last = header.images([0]), header.images([6])
    assert float(first.weight().sum()) < 40 * 36 + 1
    moved_by = (
        header.grid.spacing
        * (last.weight()[0, 0].nonzero()[0] - first.weight()[0, 0].nonzero()[0]).numpy()
    )
    np.testing.assert_allclose(moved_by, 30, atol=1)


def test_stopped_anywhere_it_ends_with_the_same_weights(known, tmp_path, monkeypatch):
    target = "lncc(radius=2) + diffusion + labels"
    recipe = replace(RECIPE, augmented=0.5, warm=0.3, objective=target)
    schedule = Schedule(steps=10, validated=5, warm=2)
    whole = train(task(known, recipe), schedule, tmp_path / "a", watch=lambda _: None)
    monkeypatch.setattr(loop, "SAVED", 0.0)

    def fails(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task(known, recipe), schedule, tmp_path / "b", watch=fails)
    again = train(task(known, recipe), schedule, tmp_path / "b", watch=lambda _: None)
    assert hashed(again) == hashed(whole)


def test_subjects_not_seen_come_nearer_to_each_other(known, tmp_path):
    said = []
    schedule = Schedule(steps=150, validated=150, warm=10, rate=5e-3, average=0.9)
    train(
        task(known, replace(RECIPE, objective="mse + 0.01*diffusion")),
        schedule,
        tmp_path,
        watch=said.append,
    )
    last = said[-1].numbers
    assert said[-1].validated
    assert last["dice"] > last["dice before"] + 0.02
    assert last["folding %"] == 0


def test_one_training_serves_all_weights(known, tmp_path):
    """The larger the weight, the smoother the field."""
    told = PREDICTOR.replace("dim=2", "conditional=True, dim=2")
    recipe = replace(RECIPE, predictor=told, objective="mse + 0.2*diffusion")
    schedule = Schedule(steps=200, validated=200, warm=10, rate=5e-3, average=0.9)
    one = task(known, recipe)
    network = train(one, schedule, tmp_path, watch=lambda _: None)
    fixed, moving = (known[1].images([i]) for i in known[0].validation[0])
    rough = []
    for weight in (0.0, 0.3, 0.6, 1.0):
        with torch.no_grad():
            found = Alignment(fixed, moving, network(fixed, moving, weight))
            rough.append(float(Diffusion()(found)[0]))
    assert rough == sorted(rough, reverse=True)
    assert rough[0] > 2 * rough[-1]


def test_other_data_are_another_training(known, tmp_path):
    train(task(known), Schedule(steps=1), tmp_path, watch=lambda _: None)
    cases, subjects = known
    other = replace(subjects, data=tuple(data + 0.001 for data in subjects.data))
    with pytest.raises(ValueError, match="holds another training"):
        train(task((cases, other)), Schedule(steps=1), tmp_path, watch=lambda _: None)


def test_a_warm_up_lowers_mse_and_keeps_the_penalties(known):
    one = task(known, replace(RECIPE, warm=0.5))
    one.total = 10
    with torch.no_grad():
        for name, values in one.network.named_parameters():
            if "head" in name and "weight" in name:
                values.normal_(0, 0.1)
    total, early = one.loss(one.network, 4)
    _, late = one.loss(one.network, 5)
    assert set(early) == {"mse", "diffusion"}
    assert early["diffusion"] > 0.001
    # mse of grey values from 0 to 1 is small beside a penalty that is weighed against lncc
    assert float(total) == pytest.approx(10 * early["mse"] + 0.2 * early["diffusion"])
    assert set(late) == {"lncc(radius=2, floor=0.001)", "diffusion"}


def test_a_warm_up_tells_a_conditional_network_smaller_weights(known, monkeypatch):
    told = PREDICTOR.replace("dim=2", "conditional=True, dim=2")
    one = task(known, replace(RECIPE, predictor=told, warm=0.5))
    one.total, weights = 40, []
    kept = one.network.trained

    def trained(fixed, moving, weight, random):
        weights.append(weight)
        return kept(fixed, moving, weight, random)

    monkeypatch.setattr(one.network, "trained", trained)
    for step in range(40):
        one.loss(one.network, step)
    assert 0.3 < max(weights[:20]) < 0.4 < 0.8 < max(weights[20:]) < 1


def test_pictures_show_no_padding(known):
    cases, subjects = known
    masks = tuple(mask.clone() for mask in subjects.masks)
    for mask in masks:
        mask[..., :5] = 0
    padded = replace(
        subjects, masks=masks, data=tuple(data.clamp(min=0.2) for data in subjects.data)
    )
    one = task((cases, padded))
    _, rows = one.pictures(one.network)
    tiles = np.split(rows[0], 5, axis=1)
    for tile in tiles:
        assert not tile[:, :4].any()
    for tile in tiles[:3]:
        assert (tile[:, 8:-8] > 0).mean() > 0.5


def test_penalties_look_at_the_velocity_and_the_weight_shares_the_cost(known):
    _, subjects = known
    half = subjects.grid.shrink((2, 2))
    velocity = torch.zeros(1, 2, *half.shape)
    velocity[:, 0] = 0.2 * half.points(torch.float32)[0, :, 0].view(half.shape)
    alignment = Alignment(
        subjects.images([0]), subjects.images([1]), Velocity(field=velocity, grid=half)
    )
    target = objective("mse + 2*diffusion")
    total, values = cost(target, alignment)
    # that of the flow would be (exp(0.2) - 1)²
    assert values["diffusion"] == pytest.approx(0.2**2, rel=1e-3)
    assert float(total) == pytest.approx(values["mse"] + 2 * values["diffusion"])
    shared, _ = cost(target, alignment, 0.25)
    assert float(shared) == pytest.approx(0.75 * values["mse"] + 0.25 * 2 * values["diffusion"])


def test_augmented_labels_go_where_their_images_go(known):
    _, subjects = known
    image, labels = subjects.images([0, 1]), subjects.label_maps([0, 1])
    assert labels is not None
    as_image = Image(labels.data.float(), subjects.grid, image.mask)
    random = torch.Generator().manual_seed(3)
    _, maps, _ = moved(image, labels, random)
    seen, _, _ = moved(as_image, None, torch.Generator().manual_seed(3))
    assert maps is not None
    assert not torch.equal(maps.data, labels.data)
    # intensities pass through a curve, which 0 and 1 and what lies between follow in order
    inside = seen.data[0, 0][maps.data[0, 0] == 0].mean()
    outside = seen.data[0, 0][maps.data[0, 0] > 0].mean()
    assert float(outside) > float(inside) + 0.3


def test_what_cannot_be_trained_is_refused(known, folder):
    with pytest.raises(ValueError, match="compares nothing"):
        PairsRecipe(objective="diffusion")
    with pytest.raises(ValueError, match="share from 0 to 1"):
        PairsRecipe(warm=2)
    with pytest.raises(ValueError, match=r"write pyramid\(dim=2\)"):
        task(known, replace(RECIPE, predictor="pyramid"))
    bare = find_cases(f"{folder}/*_T1.nii.gz", validation=2)
    assert task((bare, read_subjects(bare.cases))).score == "similarity held out"
    assert task(known).score == "dice"
    with pytest.raises(ValueError, match="no labels"):
        task((bare, read_subjects(bare.cases)), replace(RECIPE, objective="mse + labels"))


def test_the_command_trains_a_model_that_registers(folder, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    command = ["train", str(folder), "--labels", "_T1=_label", "--align", "centre"]
    command += ["--predictor", PREDICTOR, "--validation", "2", "--steps", "3", "--out", str(out)]
    main(command)
    assert "wrote" in capsys.readouterr().out
    model = load_model(out)
    assert model.centred
    assert model.predictor.spacing == 1.0
    card = read_model(out)[1]
    assert card["steps"] == 3
    assert len(card["data"]["held out"]) == 2
    assert 0 < card["numbers"]["dice"] < 1
    assert out.with_suffix(".html").read_text("utf-8").count("<img") == 2
    main(["inspect", str(out)])
    assert '"predictor": "pyramid(spacing=1.0' in capsys.readouterr().out
    images = [str(folder / f"s{n}_T1.nii.gz") for n in (0, 1)]
    ways = f"predict(model={str(out)!r}) >> displacement"
    main(["register", *images, "--ways", ways, "--out", str(tmp_path / "run")])
    assert "predicted by a trained network" in capsys.readouterr().out.lower()


def test_options_of_another_training_are_refused(folder, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    with pytest.raises(SystemExit):
        main(["train", "structural", "--out", out, "--predictor", "lapirn"])
    assert "takes no --predictor" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", str(folder), "--out", out, "--images", str(folder)])
    assert "takes no --images" in capsys.readouterr().err


def test_another_seed_shows_other_pairs_in_another_order(known):
    def drawn(seed: int) -> list[float]:
        made = task(known, replace(RECIPE, seed=seed, augmented=1.0))
        network = task(known).network  # of the same weights, so that only what is shown differs
        return [float(made.loss(network, step)[0]) for step in range(3)]

    first = drawn(0)
    assert first == drawn(0)
    assert all(a != b for seed in (1, 2) for a, b in zip(first, drawn(seed), strict=True))


def test_the_numbers_of_a_step_depend_on_seed_and_step():
    seen = [float(torch.rand((), generator=numbered(s, n))) for s in range(4) for n in range(50)]
    assert len(set(seen)) == len(seen)
    assert float(torch.rand((), generator=numbered(3, 7))) == seen[3 * 50 + 7]
    # two trainings share no step before millions of them
    starts = sorted((seed * SPREAD) % 2**32 for seed in range(50))
    assert min(b - a for a, b in pairwise(starts)) > 20_000_000
