"""Autoencoders make images again; their frozen encoders compare two modalities."""

import pytest
import torch

from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.networks.autoencoder import Autoencoder, Encoder
from coincide.networks.model_file import read_model
from coincide.objective import objective
from coincide.space.image import Image
from coincide.synthetic.contrasts import pseudo_t2
from coincide.synthetic.phantoms import textured
from coincide.training.autoencoder import AutoencoderRecipe, AutoencoderTask
from coincide.training.loop import Schedule, train
from coincide.training.patch_nce import PatchNCE

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
