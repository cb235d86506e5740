import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from cases import Case, named
from figures import front
from page import write
from pairs import case, makers
from runs import Plan, record, run
from score import folding, score

import coincide as co
from coincide.alignment import pulled
from coincide.files.lps import flip
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

# voxel axes that are neither in the order of the world's nor point the same way
TURNED = np.array([[0, 0, -2.5, 30], [-2.5, 0, 0, 30], [0, 2.5, 0, -30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Case, np.ndarray]:
    """A phantom pair, and the displacement that is its truth, as a peer would hand it over."""
    folder = tmp_path_factory.mktemp("pair")
    moving = textured((24, 24, 24), seed=1, affine=TURNED)
    grid = moving.image.grid
    truth = smooth_displacement(grid, peak=8, sigma=18, seed=2).requires_grad_(False)
    co.write_image(moving.image, folder / "moving.nii.gz")
    co.write_image(moving.labels, folder / "moving_labels.nii.gz")
    for part, interpolation in (("image", "linear"), ("labels", "nearest")):
        warped = pulled(getattr(moving, part), truth, grid, interpolation=interpolation)
        name = {"image": "fixed", "labels": "fixed_labels"}[part]
        co.write_image(warped.with_mask(None), folder / f"{name}.nii.gz")
    field = truth.displacement(grid)[0].numpy()
    index = np.argwhere(moving.labels.numpy() > 0)[::50]
    here = grid.to_world(index)
    there = here + np.moveaxis(field, 0, -1)[tuple(index.T)]
    np.savez(folder / "points.npz", fixed=here * flip(3), moving=there * flip(3))
    files = ("fixed", "moving", "fixed_labels", "moving_labels")
    known = Case("phantom/1", *(folder / f"{name}.nii.gz" for name in files))
    known = Case(**{**vars(known), "points": folder / "points.npz", "linear": "none"})
    return known, (field * flip(3)[:, None, None, None]).transpose(3, 2, 1, 0)


def test_the_truth_scores_full_marks_on_a_turned_grid(pair):
    known, truth = pair
    found = score(known, truth)
    assert found["dice"] == 1
    assert found["hd95_mm"] == 0
    assert found["tre_max_mm"] < 1e-3
    assert found["folding_pct"] == 0
    assert score(known, 0 * truth)["dice"] < 0.95


def test_a_displacement_that_cannot_be_scored_is_refused(pair):
    known, truth = pair
    with pytest.raises(ValueError, match="for an image"):
        score(known, truth[:-1])
    with pytest.raises(ValueError, match="not finite"):
        score(known, truth * np.nan)


@pytest.mark.parametrize(("growth", "expected"), [(1.5, 0), (-0.5, 0), (-1.5, 100)])
def test_folding_follows_the_world_and_not_the_axes_of_the_file(growth, expected):
    image = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    image.SetDirection((0, 0, 1, -1, 0, 0, 0, 1, 0))
    image.SetSpacing((1, 2, 3))
    points = [
        image.TransformIndexToPhysicalPoint(index[::-1]) for index in np.ndindex(image.GetSize())
    ]
    stretch = growth * np.reshape(points, (8, 8, 8, 3))  # determinant (1 + growth) ** 3
    assert folding(stretch, image, np.ones((8, 8, 8), bool)) == expected


def test_coincide_is_run_and_scored_as_a_peer(pair, tmp_path):
    known, truth = pair
    row = run(Plan(tmp_path, tmp_path / "none", limit=600), known, "coincide-brain-mr", 1)
    before = score(known, 0 * truth)
    assert not row["failed"], row["failed"]
    assert row["scores"]["tre_mean_mm"] < 0.6 * before["tre_mean_mm"]
    assert row["scores"]["dice"] > before["dice"] + 0.03
    assert 0 < row["stages"]["deformable"] < row["seconds"] < row["wall"]
    assert row["peak"] > 0.05
    assert row["cpu"] > 0.5
    assert json.loads(record(tmp_path, "coincide-brain-mr", "phantom/1", 1).read_text()) == row


def test_a_peer_that_fails_is_a_row_that_says_why(pair, tmp_path):
    known, _ = pair
    plan = Plan(tmp_path, tmp_path / "none", limit=600)
    assert "no preset is called 'nonsense'" in run(plan, known, "coincide-nonsense", 1)["failed"]
    assert "install greedy" in run(plan, known, "greedy", 1)["failed"]
    hasty = Plan(tmp_path, tmp_path / "none", limit=0.05)
    assert run(hasty, known, "coincide", 1)["failed"] == "longer than 0.05 s"
    write(tmp_path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "greedy failed: `FileNotFoundError: greedy is not installed" in text


def test_the_page_compares_medians_with_greedy(tmp_path):
    times = {"greedy": (30, 40, 90), "coincide": (2, 4, 9)}
    for peer, seconds in times.items():
        for repeat, value in enumerate(seconds, 1):
            row = {"case": "hcp/1", "peer": peer, "repeat": repeat, "failed": "", "busy": 0.0}
            row |= {"seconds": value, "scores": {"dice": 0.8}, "stages": {"deformable": value}}
            row |= {"threads": 2, "machine": "one", "version": "1", "settings": "a|b"}
            path = record(tmp_path, peer, "hcp/1", repeat)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row))
    write(tmp_path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| coincide | 0.8000 | 4.0 | 4.0 | 0.10 |" in text
    assert "too long" not in text
    assert (tmp_path / "images" / "page.png").stat().st_size > 5000
    assert (tmp_path / "results.csv").read_text().count("\n") == 7


def test_the_front_holds_what_nothing_beats_in_both():
    points = [(1, 0.7), (2, 0.6), (3, 0.8), (3, 0.9), (9, 0.9)]
    assert front(points) == [(1, 0.7), (3, 0.9)]


def test_a_group_names_all_of_its_cases():
    assert named(["lung", "hcp/1", "lung/1"], list(makers())) == ["lung/1", "hcp/1"]
    with pytest.raises(ValueError, match="known groups: hcp, "):
        named(["lungs"], list(makers()))


@pytest.mark.real
@pytest.mark.parametrize("name", ["cardiac/1", "lung/1", "abdomen/1", "hippocampus/7"])
def test_a_case_is_complete_and_far_from_solved(name, real_data, tmp_path):
    found = case(name, real_data, tmp_path)
    size = sitk.ReadImage(str(found.fixed)).GetSize()[::-1]
    before = score(found, np.zeros((*size, 3)))
    assert before["dice"] < 0.8  # none where the worlds of two scanners do not meet
    assert before["folding_pct"] == 0


@pytest.mark.real
def test_a_known_case_is_solved_by_its_truth(real_data, tmp_path):
    found = case("known-t2/1", real_data, tmp_path)
    points = np.load(found.points)
    distance = np.linalg.norm(points["fixed"] - points["moving"], axis=1)
    assert 2 < np.median(distance) < 30
    fixed, moving = (sitk.ReadImage(str(p)) for p in (found.fixed, found.moving))
    brain = [fixed[fixed.TransformPhysicalPointToIndex(p)] for p in points["fixed"][:2000].tolist()]
    other = [
        moving[moving.TransformPhysicalPointToIndex(p)] for p in points["moving"][:2000].tolist()
    ]
    assert np.mean(np.array(brain) > 0) > 0.99
    assert np.mean(np.array(other) > 0) > 0.95
