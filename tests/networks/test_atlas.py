"""An atlas of many people of all ages."""

import numpy as np
import pytest
import torch

from coincide.networks.atlas import ImplicitAtlas
from coincide.synthetic.growing import TISSUES, growing
from coincide.training.atlas import AtlasRecipe, AtlasTask, Person, fitted, places_of, tissue_dice
from coincide.training.loop import Schedule, train

RECIPE = AtlasRecipe(points=2048, width=64, latent=6, omega=12.0)
SHAPE = (36, 36)


def people(count: int, first: int):
    ages = np.random.default_rng(first).permutation(np.linspace(0.05, 0.95, count))
    grown = [growing(float(age), first + n, shape=SHAPE) for n, age in enumerate(ages)]
    return [Person(g.image, g.labels, g.age) for g in grown]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    known = people(20, 100)
    task = AtlasTask(known, TISSUES, RECIPE)
    schedule = Schedule(steps=600, rate=2e-3, average=0.95, validated=10_000, warm=20)
    seen = []
    folder = tmp_path_factory.mktemp("atlas")
    network = train(task, schedule, folder, watch=seen.append)
    return known, network.atlas, seen


def nearest(known: list[Person], image) -> Person:
    """The one among those known whose image is most like this one."""
    return min(known, key=lambda p: float((p.image.data - image.data).square().mean()))


def test_a_head_grows_and_its_ventricles_shrink():
    young, old = (growing(age, 7) for age in (0.1, 0.9))
    assert float((old.labels.data > 0).sum()) > 1.5 * float((young.labels.data > 0).sum())
    assert torch.equal(growing(0.5, 7).image.data, growing(0.5, 7).image.data)
    assert not torch.equal(growing(0.5, 7).labels.data, growing(0.5, 8).labels.data)


def test_training_learns(trained):
    _, _, seen = trained
    assert seen[-1].numbers["intensity"] < 0.2 * seen[0].numbers["intensity"]


def test_an_unseen_person_is_found_from_half_of_the_voxels(trained):
    known, atlas, _ = trained
    unseen = people(5, 900)
    found = [fitted(atlas, p.image, share=0.5) for p in unseen]
    templates = [nearest(known, p.image) for p in unseen]
    dice, control = (
        np.mean(
            [tissue_dice(o.labels, p.labels, TISSUES) for o, p in zip(ones, unseen, strict=True)]
        )
        for ones in (found, templates)
    )
    error, guess = (
        np.mean([abs(o.age - p.age) for o, p in zip(ones, unseen, strict=True)])
        for ones in (found, templates)
    )
    assert dice > control
    assert dice > 0.8
    assert error < guess + 0.02
    assert error < 0.1


def test_the_atlas_of_an_average_person_grows_with_age(trained):
    _, atlas, _ = trained
    places = places_of(growing(0.5, 1, shape=SHAPE).image.grid)
    sizes = []
    for age in (0.2, 0.8):
        with torch.no_grad():
            _, scores = atlas(places, torch.zeros(1, atlas.latent), torch.tensor([[age]]))
        sizes.append(float((scores.argmax(1) > 0).double().mean()))
    assert sizes[1] > 1.2 * sizes[0]


def test_the_same_seed_gives_the_same_atlas():
    places = torch.rand(10, 2)
    found = [ImplicitAtlas(2, 4, seed=3)(places, torch.zeros(1, 8), torch.ones(1, 1))[0]] * 2
    assert torch.equal(*found)


def test_a_share_of_nothing_is_refused():
    atlas = ImplicitAtlas(2, TISSUES)
    with pytest.raises(ValueError, match="share is a part of the voxels"):
        fitted(atlas, growing(0.5, 1).image, share=0.0)
