import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from coincide.alignment import Alignment
from coincide.registration import Registration
from coincide.scores.consistency import consistency
from coincide.scores.evaluate import evaluate
from coincide.scores.landmarks import landmarks
from coincide.scores.overlap import overlap
from coincide.scores.regularity import regularity
from coincide.scores.surface import outline, surface
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.linear import Affine, Translation


def blobs(shape, seed, count=4):
    noise = np.random.default_rng(seed).normal(size=(count, *shape))
    smooth = np.stack([gaussian_filter(part, 2) for part in noise])
    labels = smooth.argmax(0)
    labels[smooth.max(0) < 0.05] = 0
    return labels.astype(np.int16)


def oblique(shape, seed=0):
    dim = len(shape)
    affine = np.eye(dim + 1)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    affine[:dim, :dim] = turn * np.array([1.5, 0.7, 2.2])[:dim]
    affine[:dim, -1] = 7
    return Grid(shape, affine)


def field(grid, sigma=3.0, size=2.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=(grid.dim, *grid.shape))
    smooth = np.stack([gaussian_filter(part, sigma) for part in noise])
    return torch.tensor(smooth / np.abs(smooth).max() * size, dtype=torch.float32)[None]


class TestOverlap:
    def test_agrees_with_simpleitk(self):
        one, two = blobs((20, 22, 24), 0), blobs((20, 22, 24), 1)
        judge = SimpleITK.LabelOverlapMeasuresImageFilter()
        judge.Execute(SimpleITK.GetImageFromArray(one), SimpleITK.GetImageFromArray(two))
        ours = overlap(one, two)
        assert set(ours.dice) == {1, 2, 3}
        for label in ours.dice:
            assert ours.dice[label] == pytest.approx(judge.GetDiceCoefficient(label))
            assert ours.jaccard[label] == pytest.approx(judge.GetJaccardCoefficient(label))

    @given(st.lists(st.sampled_from([-5, 0, 1, 17, 12175, 2**40]), min_size=1, max_size=30))
    @settings(max_examples=30, deadline=None)
    def test_itself_is_one_whatever_the_ids(self, values):
        labels = np.array(values, np.int64)
        scores = overlap(labels, labels)
        assert set(scores.dice) == set(values) - {0}
        assert set(scores.dice.values()) <= {1.0}

    def test_absent_labels(self):
        scores = overlap(np.array([1, 1, 2, 0]), np.array([1, 1, 3, 0]))
        assert scores.dice == {1: 1.0, 2: 0.0}
        assert scores.missing == (2,)
        assert scores.extra == (3,)
        assert scores.mean_dice == 0.5

    def test_no_label_at_all(self):
        assert overlap(np.zeros(4, int), np.ones(4, int)).mean_dice is None

    def test_floats_are_refused(self):
        with pytest.raises(TypeError, match="float64; give integers"):
            overlap(np.zeros(3), np.zeros(3, int))

    def test_other_grid_is_refused(self):
        with pytest.raises(ValueError, match="different grids"):
            overlap(np.zeros(3, int), np.zeros(4, int))


class TestSurface:
    @pytest.mark.parametrize("shape", [(14, 16, 12), (24, 30)])
    def test_agrees_with_brute_force(self, shape):
        grid = oblique(shape)
        one, two = blobs(shape, 0), blobs(shape, 1)
        scores = surface(one, two, grid)
        assert scores.hd95_mm
        for label in scores.hd95_mm:
            points = []
            for labels in (one == label, two == label):
                edge = [
                    at
                    for at in np.argwhere(labels)
                    if any(
                        not (0 <= at[a] + s < shape[a])
                        or not labels[tuple(at + s * (np.arange(len(shape)) == a))]
                        for a in range(len(shape))
                        for s in (-1, 1)
                    )
                ]
                points.append(grid.to_world(np.array(edge)))
            apart = cdist(*points)
            there, back = apart.min(1), apart.min(0)
            hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
            assert scores.hd95_mm[label] == pytest.approx(hd95)
            assert scores.assd_mm[label] == pytest.approx(np.r_[there, back].mean())

    def test_distances_agree_with_simpleitk(self):
        one, two = (blobs((18, 20, 16), seed, 2) == 1 for seed in (0, 1))
        grid = Grid(one.shape, np.diag([2.2, 0.7, 1.5, 1]))
        images = []
        for labels in (one, two):
            # SimpleITK counts axes the other way round
            image = SimpleITK.GetImageFromArray(labels.transpose(2, 1, 0).astype(np.uint8))
            image.SetSpacing([2.2, 0.7, 1.5])
            images.append(image)
        away = SimpleITK.SignedMaurerDistanceMap(
            images[1], insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
        distance = np.abs(SimpleITK.GetArrayFromImage(away)).transpose(2, 1, 0)
        box = tuple(slice(0, n) for n in one.shape)
        at = np.round(grid.to_index(outline(one, box, grid))).astype(int)
        theirs = distance[tuple(at.T)]
        # the Maurer map measures to the border voxels of the label, as we do
        from scipy.spatial import KDTree

        ours = KDTree(outline(two, box, grid)).query(grid.to_world(at))[0]
        assert np.abs(ours - theirs).mean() < 0.05

    def test_shift_is_measured_in_mm(self):
        labels = np.pad(np.full((5, 5, 5), 300), 4)
        grid = Grid(labels.shape, np.diag([3.0, 1.0, 1.0, 1.0]))
        scores = surface(labels, np.roll(labels, 1, 0), grid)
        assert scores.hd95_mm == {300: pytest.approx(3.0)}

    def test_missing_label_has_no_distance(self):
        scores = surface(np.array([[1, 2]]), np.array([[1, 0]]), Grid((1, 2), np.eye(3)))
        assert scores.missing == (2,)
        assert scores.hd95_mm == {1: 0.0}

    def test_nothing_to_measure(self):
        empty = np.zeros((3, 3), int)
        assert surface(empty, empty, Grid((3, 3), np.eye(3))).mean_hd95_mm is None


class TestLandmarks:
    def test_known_shift(self):
        grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1]))
        points = np.array([[4.0, 6, 8], [2, 2, 2], [10, 4, 6]])
        matrix = np.eye(4)
        matrix[:3, 3] = 0.9, 0, 0
        scores = landmarks(Translation(matrix), points, points, grid)
        assert scores.tre_mean_mm == pytest.approx(0.9)
        assert scores.tre_max_mm == pytest.approx(0.9)
        assert scores.tre_snapped_mean_mm == 0
        assert scores.initial_mean_mm == 0

    def test_unpaired_points_are_refused(self):
        with pytest.raises(ValueError, match=r"\(4, 3\) and \(5, 3\)"):
            landmarks(Affine(np.eye(4)), np.zeros((4, 3)), np.zeros((5, 3)), oblique((4, 4, 4)))


class TestRegularity:
    @pytest.mark.parametrize("shape", [(11, 12, 13), (20, 17), (1, 9, 12), (2, 3, 2)])
    def test_agrees_with_the_determinant(self, shape):
        grid = oblique(shape)
        move = torch.randn(1, len(shape), *shape, generator=torch.Generator().manual_seed(3)) * 0.8
        det = determinant(move, grid).double()
        ours = regularity(move, grid)
        assert ours.folding_percent == pytest.approx(100 * float((det <= 0).double().mean()))
        assert ours.min_jacobian == pytest.approx(float(det.min()), rel=1e-4)
        assert ours.max_jacobian == pytest.approx(float(det.max()), rel=1e-4)
        spread = det.clamp(1e-9, 1e9).log().std(unbiased=False)
        assert ours.sd_log_jacobian == pytest.approx(float(spread), rel=1e-4)
        length = move.norm(dim=1)
        assert ours.mean_displacement_mm == pytest.approx(float(length.mean()), rel=1e-5)
        assert ours.max_displacement_mm == pytest.approx(float(length.max()), rel=1e-5)

    def test_corners_find_what_central_differences_miss(self):
        grid = Grid((16, 16), np.eye(3))
        move = torch.zeros(1, 2, 16, 16)
        # every second row is thrown beyond its neighbour: central differences see nothing
        move[:, 0, ::2] = 1.5
        scores = regularity(move, grid)
        assert scores.folding_percent < 13
        assert scores.folding_corner_percent == 100

    @pytest.mark.parametrize("shape", [(5, 6, 4), (7, 8)])
    def test_corners_agree_with_every_choice_of_neighbour(self, shape):
        dim = len(shape)
        grid = oblique(shape)
        move = field(grid, 0.7, 3.0)
        u = move[0].double().numpy()
        folded = 0
        for at in np.ndindex(shape):
            dets = []
            for side in np.ndindex((2,) * dim):
                slopes = np.zeros((dim, dim))
                for axis in range(dim):
                    a = np.array(at)
                    a[axis] = np.clip(at[axis] - side[axis], 0, shape[axis] - 2)
                    b = a + (np.arange(dim) == axis)
                    slopes[:, axis] = u[(slice(None), *b)] - u[(slice(None), *a)]
                dets.append(np.linalg.det(np.eye(dim) + slopes @ grid.inverse[:dim, :dim]))
            folded += min(dets) <= 0
        scores = regularity(move, grid)
        assert 0 < folded < np.prod(shape)
        assert scores.folding_corner_percent == pytest.approx(100 * folded / np.prod(shape))
        assert scores.folding_percent <= scores.folding_corner_percent

    def test_mask_is_a_crop(self):
        grid = oblique((12, 13, 14))
        move = field(grid, 1.0, 3.0)
        mask = torch.zeros(1, 1, *grid.shape)
        mask[..., 3:9, 3:9, 3:9] = 1
        det = determinant(move, grid)[mask > 0]
        scores = regularity(move, grid, mask)
        assert scores.voxels == 6**3
        assert scores.max_jacobian == pytest.approx(float(det.max()), rel=1e-5)

    def test_empty_mask_is_refused(self):
        grid = oblique((4, 4, 4))
        with pytest.raises(ValueError, match="mask of the fixed image is empty"):
            regularity(field(grid), grid, torch.zeros(1, 1, 4, 4, 4))

    def test_several_pairs_are_refused(self):
        with pytest.raises(ValueError, match="2 pairs"):
            regularity(torch.zeros(2, 3, 4, 4, 4), oblique((4, 4, 4)))


class TestConsistency:
    def pair(self, shape=(24, 26, 22)):
        grid = Grid(shape, np.eye(len(shape) + 1))
        noise = np.random.default_rng(0).random(shape)
        return Image.from_array(np.pad(noise[(slice(4, -4),) * len(shape)], 4), grid.affine)

    def test_true_inverse_has_no_residual(self):
        image = self.pair()
        matrix = np.eye(4)
        matrix[:3, 3] = 1, 2, 3
        there = Affine(matrix)
        scores = consistency(there, there.inverse(), image, image)
        assert scores.inverse_residual_p95_mm == pytest.approx(0, abs=1e-9)
        assert scores.points > 100

    def test_wrong_inverse_is_measured(self):
        image = self.pair((30, 30))
        matrix = np.eye(3)
        matrix[:2, 2] = 3, 4
        scores = consistency(Affine(matrix), Affine(np.eye(3)), image, image)
        assert scores.inverse_residual_median_mm == pytest.approx(5)

    def test_points_outside_the_moving_image_do_not_count(self):
        image = self.pair()
        matrix = np.eye(4)
        matrix[:3, 3] = 500
        scores = consistency(Affine(matrix), Affine(np.eye(4)), image, image)
        assert scores.to_dict() == {
            "inverse_residual_median_mm": None,
            "inverse_residual_p95_mm": None,
            "points": 0,
        }

    def test_the_mask_says_where(self):
        image = self.pair()
        mask = torch.zeros(1, 1, *image.grid.shape)
        mask[..., 10:12, 10:12, 10:12] = 1
        still = Affine(np.eye(4))
        assert consistency(still, still, image.with_mask(mask), image).points == 8


class TestEvaluate:
    @pytest.mark.parametrize("shape", [(24, 26, 22), (32, 30)])
    def test_everything_at_once(self, shape):
        grid = oblique(shape)
        labels = blobs(shape, 0)
        image = Image.from_array(labels.astype(np.float32), grid.affine)
        marks = Image.from_array(labels, grid.affine)
        transform = Displacement(field=field(grid, size=1.0), grid=grid)
        result = Registration(image, image, transform, transform.inverse())
        points = grid.to_world(np.full((3, len(shape)), 10))
        scores = evaluate(
            result,
            fixed_labels=marks,
            moving_labels=marks,
            fixed_points=points,
            moving_points=points,
        ).to_dict()
        again = json.loads(json.dumps(scores, allow_nan=False))
        assert again == scores
        assert 0.5 < scores["overlap"]["mean_dice"] < 1
        assert scores["surface"]["mean_hd95_mm"] > 0
        assert 0 < scores["landmarks"]["tre_mean_mm"] <= 1
        assert scores["regularity"]["folding_percent"] == 0
        assert scores["inverse"]["inverse_residual_median_mm"] < 0.1

    def test_what_was_not_asked_is_none(self):
        image = Image.from_array(np.random.default_rng(0).random((8, 9, 10)))
        scores = evaluate(Alignment(image, image, Affine(np.eye(4)))).to_dict()
        assert [name for name, value in scores.items() if value is None] == [
            "overlap",
            "surface",
            "landmarks",
            "inverse",
            "uncertainty",
        ]

    def test_labels_on_a_finer_grid(self):
        coarse = np.random.default_rng(0).random((10, 10, 10))
        image = Image.from_array(coarse, np.diag([2, 2, 2, 1]))
        labels = blobs((20, 20, 20), 0)
        marks = Image.from_array(labels)
        scores = evaluate(
            Alignment(image, image, Affine(np.eye(4))), fixed_labels=marks, moving_labels=marks
        )
        assert scores.overlap is not None
        assert scores.overlap.mean_dice == 1

    def test_half_a_pair_is_refused(self):
        image = Image.from_array(np.random.default_rng(0).random((6, 6)))
        marks = Image.from_array(blobs((6, 6), 0))
        with pytest.raises(ValueError, match="fixed_labels were given without moving_labels"):
            evaluate(Alignment(image, image, Affine(np.eye(3))), fixed_labels=marks)

    def test_float_labels_are_refused(self):
        image = Image.from_array(np.random.default_rng(0).random((6, 6)))
        with pytest.raises(TypeError, match="give integers"):
            evaluate(
                Alignment(image, image, Affine(np.eye(3))), fixed_labels=image, moving_labels=image
            )

    def test_a_diverged_transform_is_refused(self):
        image = Image.from_array(np.random.default_rng(0).random((6, 6)))
        move = torch.zeros(1, 2, 6, 6)
        move[0, 0, 3, 3] = torch.nan
        diverged = Displacement(field=move, grid=image.grid)
        with pytest.raises(ValueError, match="diverged"):
            evaluate(Alignment(image, image, diverged))


def test_the_room_of_the_scores_can_be_imported_beside_the_function():
    code = (
        "import coincide.scores.surface; "
        "print(coincide.scores.surface.surface.__name__, coincide.evaluate.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["surface", "evaluate"]
