import pytest
import torch

from coincide.networks.intensity import normalised
from coincide.synthetic.scanner import curved, scanned
from coincide.synthetic.shapes import shapes
from coincide.training.views import View, pair


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_view_is_undone():
    view = View.random((36, 34, 32), 52, random(1))
    points = 4 + 24 * torch.rand(50, 3, generator=random(2))
    torch.testing.assert_close(view.back(view.place(points)), points, atol=0.03, rtol=0)


def test_points_of_both_views_show_the_same_place():
    """A scene whose value is its place, seen twice, has the same values at corresponding points."""
    side = 40
    axes = torch.meshgrid(*[torch.arange(side, dtype=torch.float32)] * 3, indexing="ij")
    two = pair(shapes(side, random(3)), random(4), size=26, count=256, painted_by_label=True)
    for view, points in zip(two.views, two.points, strict=True):
        seen = view.seen(torch.stack(axes))
        index = points.round().long()
        exact = (points - index).abs().amax(1) < 0.02
        shown = seen[(slice(None), *index[exact].T)].T
        torch.testing.assert_close(shown, two.places[exact], atol=0.1, rtol=0)


def test_views_lie_at_different_offsets():
    """Otherwise places would be told apart by where they are in the view."""
    apart = []
    for seed in range(6):
        scene = shapes(40, random(seed))
        two = pair(scene, random(seed), size=26, count=256, painted_by_label=True)
        if min(two.images.shape[2:]) > 1:
            apart.append(float((two.points[0] - two.points[1]).norm(dim=1).mean()))
    assert min(apart) > 1
    assert max(apart) > 6


def test_the_same_seed_shows_the_same():
    one, other = (
        pair(shapes(40, random(5)), random(6), size=24, count=128, painted_by_label=True)
        for _ in range(2)
    )
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.points, other.points)


def test_a_curve_of_intensities_only_rises_or_only_falls():
    ramp = torch.linspace(0, 1, 200).view(200, 1, 1)
    senses = set()
    for seed in range(12):
        steps = curved(ramp, random(seed)).flatten().diff()
        assert bool((steps >= -1e-6).all()) or bool((steps <= 1e-6).all())
        senses.add(float(steps.sum()) > 0)
    assert senses == {True, False}


@pytest.mark.parametrize("shape", [(20, 18, 16), (1, 20, 18)])
def test_what_a_device_shows_lies_between_0_and_1(shape):
    for seed in range(5):
        found = scanned(torch.rand(shape, generator=random(seed)), random(seed))
        assert found.shape == shape
        assert -0.11 < float(found.min()) < float(found.max()) < 1.11
    assert torch.equal(normalised(torch.zeros(shape)), torch.zeros(shape))


def test_shapes_are_many_and_of_all_sizes():
    counts = [len(shapes(32, random(seed)).unique()) for seed in range(8)]
    assert min(counts) >= 4
    assert max(counts) > 12
