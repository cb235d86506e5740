"""No channel is passed over: each counts as much as the others."""

import pytest
import torch

from coincide.objective import Similarity
from coincide.registry import build, parts
from coincide.space.image import Image
from coincide.synthetic.phantoms import textured

OF_LABELS = ("distance_map", "overlap")
IMAGES = [textured((24, 22), seed=s).image for s in range(4)]


def several(*numbers: int) -> Image:
    return Image(torch.cat([IMAGES[n].data for n in numbers], 1), IMAGES[0].grid)


@pytest.mark.parametrize("name", [n for n in parts(Similarity) if n not in OF_LABELS])
def test_a_similarity_of_several_channels_is_the_mean_of_each(name):
    part = build(name)

    def cost(fixed: Image, moving: Image) -> float:
        return float(part.compare(*part.prepared(fixed, moving)))

    both = cost(several(0, 1), several(2, 3))
    each = cost(several(0), several(2)), cost(several(1), several(3))
    assert both == pytest.approx(sum(each) / 2, rel=1e-5)
    assert abs(each[0] - each[1]) > min(1e-3, 1e-2 * abs(both))


def test_a_label_map_has_one_channel():
    with pytest.raises(ValueError, match="a label map has one channel, this has 2"):
        build("distance_map").prepared(several(0, 1), several(2, 3))
