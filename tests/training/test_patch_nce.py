"""Autoencoders make images again; their frozen encoders compare two modalities."""

import pytest
import torch

from coincide.cli.main import main
from coincide.files.atomic import atomic
from coincide.files.write import write_image
from coincide.networks.autoencoder import Autoencoder, Encoder
from coincide.networks.model_file import model_bytes, read_model, weights_hash
from coincide.objective import objective
from coincide.predictors.model import load_model, save_model
from coincide.register import register
from coincide.space.image import Image
from coincide.synthetic.contrasts import pseudo_t2
from coincide.synthetic.phantoms import textured
from coincide.training.autoencoder import AutoencoderRecipe, AutoencoderTask
from coincide.training.cases import find_cases
from coincide.training.loop import Schedule, train
from coincide.training.pairs import PairsTask
from coincide.training.pairs_recipe import PairsRecipe
from coincide.training.patch_nce import PatchNCE, PatchNCETerm
from coincide.training.subjects import read_subjects

WIDTHS = (4, 6, 8)
SHAPES = {2: (38, 33), 3: (22, 19, 17)}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def encoders(dim: int) -> tuple[Encoder, Encoder]:
    torch.manual_seed(0)
    return Encoder(dim, WIDTHS), Encoder(dim, WIDTHS)


def images(dim: int, batch: int = 2) -> tuple[Image, Image]:
    """Two contrasts of each of some phantoms."""
    ones = [textured(SHAPES[dim], seed=n).image for n in range(batch)]
    others = [pseudo_t2(one, seed=n) for n, one in enumerate(ones)]
    grid = ones[0].grid
    fixed, warped = (torch.cat([i.data for i in some]) for some in (ones, others))
    return Image(fixed / fixed.max(), grid), Image(warped / warped.max(), grid)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@both_dimensions
def test_an_image_of_any_size_is_made_again_on_its_own_voxels(dim):
    fixed, _ = images(dim)
    network = Autoencoder(dim, WIDTHS)
    assert network(fixed.data).shape == fixed.data.shape
    taps = network.encoder(fixed.data)
    assert [tap.shape[1] for tap in taps] == [4, 4, 6, 6, 8, 8]
    assert taps[-1].shape[2:] == tuple(-(-n // 8) for n in SHAPES[dim])


@both_dimensions
def test_a_step_changes_the_heads_and_leaves_the_encoders_to_the_bit(dim):
    loss = PatchNCE(*encoders(dim), points=64)
    before = {name: values.clone() for name, values in loss.state_dict().items()}
    rule = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=1e-3)
    loss(*images(dim), random()).mean().backward()
    rule.step()
    for name, values in loss.state_dict().items():
        same = torch.equal(values, before[name])
        assert same == (name.startswith(("fixed.", "moving."))), name


def test_the_heads_are_parameters_and_the_same_in_every_call():
    loss = PatchNCE(*encoders(2), points=64)
    free = [name for name, p in loss.named_parameters() if p.requires_grad]
    assert len(free) == 2 * 6 * 4  # two modalities, six taps, two layers of weight and bias
    assert all("heads" in name for name in free)
    pair = images(2)
    assert torch.equal(loss(*pair, random()), loss(*pair, random()))


@both_dimensions
def test_there_is_a_cost_for_each_pair_and_a_gradient_to_the_warped_image(dim):
    loss = PatchNCE(*encoders(dim), points=64)
    fixed, warped = images(dim)
    leaf = warped.data.clone().requires_grad_()
    costs = loss(fixed, warped.with_data(leaf), random())
    assert costs.shape == (2,)
    (slope,) = torch.autograd.grad(costs[0], leaf)
    assert float(slope[0].abs().max()) > 0
    assert float(slope[1].abs().max()) == 0


def test_what_the_mask_leaves_out_is_not_drawn():
    loss = PatchNCE(*encoders(2), points=64)
    fixed, warped = images(2)
    mask = torch.zeros_like(fixed.data)
    mask[:, :, :16] = 1
    leaf = warped.data.clone().requires_grad_()
    loss(fixed, warped.with_data(leaf).with_mask(mask), random()).sum().backward()
    assert float(leaf.grad[:, :, :16].abs().max()) > 0
    assert float(leaf.grad[:, :, 34:].abs().max()) < float(leaf.grad[:, :, :16].abs().max()) / 5
    nothing = warped.with_mask(torch.zeros_like(mask))
    assert loss(fixed, nothing, random()).isfinite().all()


def test_it_joins_mutual_information_in_one_loss():
    loss, (fixed, warped) = PatchNCE(*encoders(2), points=64), images(2)
    (_, mi), *_ = objective("mi").terms
    leaf = warped.data.clone().requires_grad_()
    moved = warped.with_data(leaf)
    prepared = mi.prepare(fixed), mi.prepare(moved)
    total = (0.1 * loss(fixed, moved, random()) + 0.9 * mi.compare(*prepared)).mean()
    total.backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.slow
def test_trained_heads_prefer_the_aligned_image():
    loss, (fixed, warped) = PatchNCE(*encoders(2), points=128), images(2)
    rule = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=3e-3)
    for step in range(60):
        rule.zero_grad()
        loss(fixed, warped, random(step)).mean().backward()
        rule.step()
    apart = warped.with_data(warped.data.roll(6, 2))
    aligned, shifted = (float(loss(fixed, w, random(999)).mean()) for w in (warped, apart))
    assert aligned < shifted - 0.2


def test_encoders_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="do not go together"):
        PatchNCE(Encoder(2, WIDTHS), Encoder(2, (4, 6, 9)))


def test_an_autoencoder_learns_and_the_same_seed_gives_the_same(tmp_path):
    shown = [textured((40, 36), seed=n).image.data[0, 0][..., None] for n in range(2)]
    shown = [image / image.max() for image in shown]
    recipe = AutoencoderRecipe(side=24, batch=2)
    schedule = Schedule(steps=12, rate=3e-3, warm=2, average=0.5, validated=6)
    said = []
    networks = []
    for name in "ab":
        task = AutoencoderTask(recipe, shown)
        networks.append(train(task, schedule, tmp_path / name, watch=said.append))
    for one, other in zip(*(n.parameters() for n in networks), strict=True):
        assert torch.equal(one, other)
    apart = [s.numbers["apart on the same images"] for s in said if len(s.numbers) > 2]
    assert apart[1] < apart[0]


def test_images_are_needed_and_of_one_kind():
    with pytest.raises(ValueError, match="give a folder"):
        AutoencoderTask(AutoencoderRecipe(), [])
    with pytest.raises(ValueError, match="some images are pictures"):
        AutoencoderTask(AutoencoderRecipe(), [torch.rand(9, 9, 1), torch.rand(9, 9, 9)])


def test_the_command_trains_one_on_a_folder(tmp_path, capsys):
    (tmp_path / "t1").mkdir()
    for number in range(2):
        write_image(textured((40, 36), seed=number).image, tmp_path / "t1" / f"{number}.png")
    out = tmp_path / "a.safetensors"
    folder = str(tmp_path / "t1")
    main(["train", "autoencoder", "--images", folder, "--out", str(out), "--steps", "2"])
    assert "wrote" in capsys.readouterr().out
    state, card = read_model(out)
    assert card["network"] == "autoencoder"
    Autoencoder(**card["arguments"]).load_state_dict(state)


HYPERMORPH = "hypermorph(widths=(4, 8), rank=2, dim=2)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pairs of two contrasts as a table, and an untrained autoencoder of each."""
    place = tmp_path_factory.mktemp("two")
    for number, (one, other) in enumerate(zip(*(i.data for i in images(2, 8)), strict=True)):
        grid = images(2)[0].grid
        write_image(Image(one[None], grid), place / f"t1_{number}.nii.gz")
        write_image(Image(other[None], grid), place / f"t2_{number}.nii.gz")
    rows = [f"t1_{n}.nii.gz,t2_{n + 1}.nii.gz" for n in range(0, 8, 2)]
    (place / "pairs.csv").write_text("\n".join(["fixed,moving", *rows]))
    for seed, name in enumerate(("t1", "t2")):
        torch.manual_seed(seed)
        card = {"network": "autoencoder", "arguments": {"dim": 2, "widths": WIDTHS}}
        with atomic(place / f"{name}.safetensors") as temporary:
            temporary.write_bytes(model_bytes(Autoencoder(2, WIDTHS), card))
    return place


def nce(folder) -> str:
    fixed, moving = (str(folder / f"{name}.safetensors") for name in ("t1", "t2"))
    return f"patch_nce(fixed={fixed!r}, moving={moving!r}, points=32)"


def pairs_task(folder, objective_text: str, predictor: str = HYPERMORPH, start: str = ""):
    cases = find_cases(folder / "pairs.csv", validation=1)
    recipe = PairsRecipe(predictor=predictor, objective=objective_text, start=start)
    return PairsTask(recipe, cases, read_subjects(cases.cases))


def test_heads_are_trained_along_with_a_predictor_and_go_on_where_they_were(folder, tmp_path):
    schedule = Schedule(steps=4, rate=1e-3, warm=1, validated=4)
    text = f"0.1*{nce(folder)} + 0.9*mi + diffusion"
    said, known = [], []
    for name, steps in (("whole", (4,)), ("parts", (2, 4))):
        for last in steps:
            task = pairs_task(folder, text)
            before = {k: v.clone() for k, v in task.along[0].state_dict().items()}

            def stops(progress, last=last):
                said.append(progress)
                if progress.step > last:
                    raise KeyboardInterrupt

            # what is killed at its third step has its checkpoint of the second
            monkey = pytest.MonkeyPatch()
            monkey.setattr("coincide.training.loop.SAVED", 0.0)
            try:
                network = train(task, schedule, tmp_path / name, watch=stops)
            except KeyboardInterrupt:
                continue
            finally:
                monkey.undo()
            after = task.along[0].state_dict()
            known.append((weights_hash(network.state_dict()), weights_hash(after)))
            moved = {k for k in after if not torch.equal(after[k], before[k])}
            assert moved == {k for k in after if "heads" in k}
    assert len(known) == 2
    assert known[0] == known[1]
    assert "similarity held out" in said[3].numbers
    assert [k.startswith("patch_nce") for k in said[0].numbers] == [False, True, False, False]


def test_the_command_trains_a_hypernetwork_by_learned_features(folder, tmp_path, capsys):
    out, text = tmp_path / "mine.safetensors", f"0.1*{nce(folder)} + 0.9*mi + diffusion"
    what = ["train", str(folder / "pairs.csv"), "--predictor", HYPERMORPH, "--objective", text]
    main([*what, "--out", str(out), "--steps", "2"])
    assert "wrote" in capsys.readouterr().out
    model = load_model(out)
    assert model.predictor.conditional
    assert not any("head" in name and "moving" in name for name in model.predictor.state_dict())
    assert len(model.card["data"]["made from"]) == 2


def test_it_compares_images_by_itself_and_only_in_training(folder):
    PairsRecipe(objective=f"{nce(folder)} + diffusion")
    with pytest.raises(ValueError, match="compares nothing"):
        PairsRecipe(objective="diffusion")
    fixed, warped = images(2, 1)
    with pytest.raises(ValueError, match="coincide train"):
        register(fixed, warped, "displacement", objective="0.1*patch_nce + mi", preset="fast")


def test_files_that_are_no_autoencoders_for_such_images_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="an autoencoder of the fixed modality"):
        PatchNCETerm().network(2)
    one = str(folder / "t1.safetensors")
    with pytest.raises(ValueError, match="made for images of 2 axes"):
        PatchNCETerm(fixed=one, moving=one).network(3)
    task = pairs_task(folder, "mi + diffusion")
    save_model(task.network, {}, tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match="holds a network 'predictor'"):
        PatchNCETerm(fixed=one, moving=str(tmp_path / "p.safetensors")).network(2)
    with pytest.raises(ValueError, match="points above 0"):
        PatchNCETerm(points=0)


def test_training_goes_on_from_a_model_of_the_same_predictor(folder, tmp_path):
    task = pairs_task(folder, "mi + diffusion")
    with torch.no_grad():
        for values in task.network.parameters():
            values.add_(0.01)
    path = tmp_path / "first.safetensors"
    save_model(task.network, {}, path)
    again = pairs_task(folder, "ncc + diffusion", str(task.network), str(path))
    for one, other in zip(task.network.parameters(), again.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    assert list(again.settings["made from"]) == [str(path)]
    with pytest.raises(ValueError, match="to go on from it write"):
        pairs_task(folder, "mi", "pyramid(dim=2)", str(path))
