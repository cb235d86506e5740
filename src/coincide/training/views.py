"""Views: two looks at one anatomy whose corresponding places are known."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.networks.structural import sampled
from coincide.synthetic.noise import noise, uniform, whole
from coincide.synthetic.scanner import curved, painted, scanned

TURN, STRETCH, BEND = 0.12, 0.06, 1.2  # radians, share, voxels: standard deviations
THIN = 0.08  # how often both views are one slice, so that pictures are known too
SAME = 0.5  # how often both show one contrast through two curves of intensities


@dataclass(frozen=True, eq=False)
class View:
    """Where the voxels of a view lie in a scene: `matrix @ x + shift + bend(x)`.

    Args:
        matrix: (3, 3).
        shift: (3,) voxels of the scene.
        bend: (3, X, Y, Z) voxels of the scene.
    """

    matrix: Tensor
    shift: Tensor
    bend: Tensor

    @classmethod
    def random(cls, shape: tuple[int, int, int], scene: int, random: torch.Generator) -> "View":
        """A view of that shape, turned, stretched and bent a little, anywhere inside a scene.

        One slice stays in its plane.
        """
        thick = torch.tensor([float(n > 1) for n in shape])
        skew = torch.zeros(3, 3)
        skew[(0, 0, 1), (1, 2, 2)] = TURN * torch.randn(3, generator=random)
        skew = thick[:, None] * skew * thick
        stretch = torch.diag((thick * STRETCH * torch.randn(3, generator=random)).exp())
        matrix = torch.linalg.matrix_exp(skew - skew.T) @ stretch
        middle = (torch.tensor(shape) - 1) / 2
        # at other offsets in both views, or places would be told by where they are in the view
        room = (scene - 1) / 2 - middle
        off = thick * (2 * torch.rand(3, generator=random) - 1) * room.clamp_max(9)
        bend = BEND * thick.view(3, 1, 1, 1) * noise((3, *shape), 5, random)
        return cls(matrix, (scene - 1) / 2 + off - matrix @ middle, bend)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        a, b, c = self.bend.shape[1:]
        return a, b, c

    def place(self, points: Tensor) -> Tensor:
        """Points of the view, (P, 3), in the scene."""
        return points @ self.matrix.T + self.shift + sampled(self.bend[None], points[None])[0]

    def back(self, places: Tensor) -> Tensor:
        """Points of the scene, (P, 3), in the view."""
        inverse = torch.linalg.inv(self.matrix)
        points = (places - self.shift) @ inverse.T
        for _ in range(8):  # the bend is far less steep than 1, so each round brings it nearer
            bend = sampled(self.bend[None], points[None])[0]
            points = (places - self.shift - bend) @ inverse.T
        return points

    def seen(self, scene: Tensor, *, mode: str = "bilinear") -> Tensor:
        """A scene (C, S, S, S) at the voxels of the view, (C, X, Y, Z)."""
        axes = [torch.arange(n, dtype=torch.float32) for n in self.shape]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        places = torch.einsum("ij,jxyz->ixyz", self.matrix, points) + self.bend
        places = places + self.shift.view(3, 1, 1, 1)
        grid = (2 * places / (scene.shape[1] - 1) - 1).flip(0).movedim(0, -1)[None]
        found = F.grid_sample(
            scene[None], grid, mode=mode, padding_mode="border", align_corners=True
        )
        return found[0]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two views as images, and places that correspond.

    Args:
        images: (2, 1, X, Y, Z), from 0 to 1.
        points: (2, P, 3) voxels with fractions of the first and of the second view.
        places: (P, 3) voxels of the scene.
        views: The two.
    """

    images: Tensor
    points: Tensor
    places: Tensor
    views: tuple[View, View]


def pair(
    scene: Tensor, random: torch.Generator, *, size: int, count: int, painted_by_label: bool
) -> Pair:
    """Two views of a scene.

    Args:
        scene: Labels, or grey values from 0 to 1, (S, S, S).
        random: Which views.
        size: Voxels of a view along each axis.
        count: Places wanted; fewer are found where the views share little.
        painted_by_label: Whether the scene holds labels, which get random contrasts.
    """
    shape = [size] * 3
    if uniform(random, 0, 1) < THIN:
        axis = whole(random, 0, 3)
        shape[axis] = 1
        scene = scene.narrow(axis, len(scene) // 2, 1).expand_as(scene)
    side = len(scene)
    rough = (noise((1, side, side, side), 12, random) + noise((1, side, side, side), 28, random))[0]
    if painted_by_label:
        one = painted(scene, random, rough)
        other = one if uniform(random, 0, 1) < SAME else painted(scene, random, rough)
    else:
        one = other = scene
    for _ in range(TRIES):
        first, second = (View.random((shape[0], shape[1], shape[2]), side, random) for _ in "ab")
        here = _near_edges(first.seen(one[None])[0], count, random)
        places = first.place(here)
        there = second.back(places)
        inside = ((there >= 0) & (there <= torch.tensor(second.shape) - 1)).all(1)
        inside &= ((places >= 0) & (places <= side - 1)).all(1)
        if int(inside.sum()) >= count // FEWEST:
            break
    else:
        raise RuntimeError(
            f"two views of a scene of {side} voxels share no {count // FEWEST} places"
        )
    images = [
        scanned(curved(view.seen(values[None])[0], random), random)
        for view, values in ((first, one), (second, other))
    ]
    points = torch.stack([here[inside], there[inside]])
    return Pair(torch.stack(images)[:, None], points, places[inside], (first, second))


CLUSTERS, REACH = 16, 5  # clusters of points, and how far they extend, voxels
FEWEST, TRIES = 12, 20  # share of the places that two views must have, and how often it is tried


def _near_edges(image: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Voxels near edges, in clusters, so that most comparisons are with near places, (P, 3)."""
    steep = torch.zeros_like(image)
    for axis, n in enumerate(image.shape):
        if n > 1:
            step = image.diff(dim=axis).abs()
            begin, end = steep.narrow(axis, 0, n - 1), steep.narrow(axis, 1, n - 1)
            begin.copy_(torch.maximum(begin, step))
            end.copy_(torch.maximum(end, step))
    edge = F.max_pool3d(steep[None], 3, 1, 1)[0] > 0.08
    voxels = edge.nonzero()
    if len(voxels) < CLUSTERS:
        voxels = torch.ones_like(edge).nonzero()
    centres = voxels[torch.randint(len(voxels), (CLUSTERS, 1), generator=random)]
    wanted = 2 * count // CLUSTERS
    steps = torch.randint(-REACH, REACH + 1, (CLUSTERS, wanted, 3), generator=random)
    found = torch.minimum((centres + steps).clamp_min(0), torch.tensor(image.shape) - 1)
    score = edge[tuple(found.unbind(-1))].float() + 0.5 * torch.rand(
        found.shape[:2], generator=random
    )
    best = score.topk(wanted // 2, 1).indices[..., None].expand(-1, -1, 3)
    return found.gather(1, best).flatten(0, 1).unique(dim=0).float()
