"""The deep metric learns to tell places from their neighbours, from pairs given or made up."""

import json

import pytest
import torch

from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.networks.model_file import read_model, weights_hash
from coincide.registry import build
from coincide.synthetic.contrasts import pseudo_t2
from coincide.synthetic.phantoms import textured
from coincide.synthetic.shapes import shapes
from coincide.training.aligned import aligned_images, made_up
from coincide.training.loop import Schedule, train
from coincide.training.metric import CROP, MetricRecipe, MetricTask, shift_response

SMALL = MetricRecipe(crops=4)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture_pair(seed: int) -> torch.Tensor:
    """A picture in two contrasts, (2, X, Y, 1)."""
    image = textured((72, 64), seed=seed, regions=30).image
    other = pseudo_t2(image, seed=seed)
    return torch.cat([image.data[0], other.data[0]])[..., None]


@pytest.mark.parametrize("flat", [True, False], ids=["2-D", "3-D"])
def test_crops_that_correspond_show_one_place_and_others_lie_2_to_8_voxels_apart(flat):
    """Of images that show their own coordinates."""
    shape = (60, 56, 1) if flat else (60, 56, 52)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij")
    task = MetricTask(MetricRecipe(crops=8), [torch.stack([axes[0]] * 2)])
    found = []
    for axis in axes[: 2 if flat else 3]:
        crops, truth = task.crops(torch.stack([axis] * 2), random(3))
        found.append((crops[:, 1] - crops[:, 0]).flatten(1).median(1).values)
    apart = torch.stack(found).norm(dim=0)
    assert crops.shape[2:] == (CROP,) * (2 if flat else 3)
    scale = 1.6  # gains, offsets and what lies beyond the border, of values up to 60
    assert float(truth.mean()) == 0
    assert len(crops) == (32 if flat else 8)
    assert scale * float(apart[truth > 0].median()) < float(apart[truth < 0].median()) * 4


def test_the_same_seed_gives_the_same_weights_and_another_other_ones(tmp_path):
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        task = MetricTask(MetricRecipe(seed=seed, crops=2), [picture_pair(1)])
        network = train(task, Schedule(steps=3), tmp_path / str(number), watch=lambda _: None)
        hashes.append(weights_hash(network.state_dict()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_every_fifth_pair_is_kept_back_and_given_ones_are_only_validated_on():
    pairs = [picture_pair(n) for n in range(6)]
    task = MetricTask(SMALL, pairs)
    assert len(task.pairs) == 5
    assert len(task.held) == 1
    assert not any(torch.equal(task.held[0], one) for one in task.pairs)
    assert list(task.validate(task.network)) == ["right on pairs held back"]
    few = MetricTask(SMALL, pairs[:3])
    assert (len(few.pairs), len(few.held)) == (3, 0)
    assert list(few.validate(few.network)) == ["right on same pairs"]
    given = MetricTask(SMALL, pairs[:5], pairs[5:])
    assert (len(given.pairs), len(given.held)) == (5, 1)


def test_pairs_that_do_not_fit_are_refused(tmp_path):
    volume = torch.rand(2, 30, 30, 30)
    with pytest.raises(ValueError, match="some images are pictures, others volumes"):
        MetricTask(SMALL, [picture_pair(1), volume])
    with pytest.raises(ValueError, match="near being less"):
        MetricRecipe(near=9)
    for folder, sizes in (("a", [20, 22]), ("b", [20, 24]), ("c", [20])):
        (tmp_path / folder).mkdir()
        for number, size in enumerate(sizes):
            image = textured((size, 20), seed=1).image
            write_image(image, tmp_path / folder / f"{number}.png")
    with pytest.raises(ValueError, match="two folders of aligned images, one a contrast, not 1"):
        aligned_images([tmp_path / "a"])
    with pytest.raises(ValueError, match="holds 2 images"):
        aligned_images([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(ValueError, match="to one grid first"):
        aligned_images([tmp_path / "a", tmp_path / "b"])


def test_made_up_scenes_are_aligned_and_some_are_slices():
    thick = set()
    for seed in range(6):
        two = made_up(shapes(24, random(seed)), random(seed))
        assert two.isfinite().all()
        thick.add(two.shape[-1])
        assert two.shape[:3] == (2, 24, 24)
    assert thick == {1, 24}


@pytest.mark.slow
def test_a_few_aligned_pictures_teach_what_is_aligned_in_others(tmp_path):
    """After some steps the response to a shift of unseen pictures is best at no shift."""
    task = MetricTask(MetricRecipe(crops=16), [picture_pair(n) for n in range(3)])
    schedule = Schedule(steps=400, rate=3e-3, validated=400, average=0.98)
    network = train(task, schedule, tmp_path, watch=lambda _: None)
    for seed in (11, 12):
        response = shift_response(network, MetricTask(SMALL, [picture_pair(seed)]).pairs[0][..., 0])
        assert abs(int(response.argmax()) - len(response) // 2) <= 1
        assert float(response.max() - response[[0, -1]].max()) > 0.5


def test_the_command_trains_on_two_folders_and_what_it_wrote_is_used(tmp_path, capsys):
    for name in ("t1", "t2"):
        (tmp_path / name).mkdir()
    for number in range(2):
        pair = picture_pair(number)
        image = textured((72, 64), seed=1).image
        for name, data in zip(("t1", "t2"), pair, strict=True):
            write_image(
                image.with_data(data[None, None, ..., 0]), tmp_path / name / f"{number}.nii"
            )
    out = tmp_path / "mine.safetensors"
    folders = [str(tmp_path / name) for name in ("t1", "t2")]
    main(["train", "metric", "--out", str(out), "--images", *folders, "--steps", "3"])
    assert "wrote" in capsys.readouterr().out
    _, card = read_model(out)
    assert card["arguments"] == {"dim": 2}
    assert card["data"]["images"] == ["0.nii 0.nii", "1.nii 1.nii"]
    assert card["steps"] == 3
    assert json.loads(json.dumps(card)) == card
    assert out.with_suffix(".html").read_text("utf-8").count("<img") == 4
    image = textured((72, 64), seed=1).image
    part = build(f"learned_metric(weights={str(out)!r})")
    assert part.compare(*[part.prepare(image)] * 2).isfinite().all()
    with pytest.raises(SystemExit):
        main(["train", "metric", "--out", str(out), "--precision", "bfloat16"])
    assert "takes float32 alone" in capsys.readouterr().err
