"""BIDS: which images make pairs, and which labels are theirs."""

from pathlib import Path

import pytest
import torch

from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.networks.model_file import read_model
from coincide.synthetic.phantoms import textured
from coincide.training.cases import Cases, find_cases


def tree(root: Path, *names: str) -> Path:
    """A data set of empty files, each in the folder where BIDS wants it."""
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text("{}")
    for name in names:
        folder, _, file = name.rpartition("/")
        parts = [part for part in file.split("_") if part.startswith(("sub-", "ses-"))]
        place = root.joinpath(folder, *parts, "anat")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{file}.nii.gz").touch()
    return root


def pairs(cases: Cases) -> set[tuple[str, str]]:
    """All pairs by their names, without what all names share."""
    names = [case.image.name.removesuffix(".nii.gz").replace("sub-", "") for case in cases.cases]
    return {(names[a], names[b]) for a, b in (*cases.training, *cases.validation)}


def labels(cases: Cases) -> dict[str, str]:
    return {c.image.name: c.labels.name for c in cases.cases if c.labels is not None}


def test_one_suffix_makes_pairs_of_different_subjects(tmp_path):
    names = ("sub-1_ses-1_T1w", "sub-1_ses-2_T1w", "sub-2_ses-1_T1w", "sub-3_ses-1_T1w")
    root = tree(tmp_path / "d", *names, "derivatives/x/sub-1_ses-1_desc-brain_mask")
    found = find_cases(root, validation=1)
    every = {(a, b) for a in names for b in names if a[:5] != b[:5]}
    told = {(f"sub-{a}", f"sub-{b}") for a, b in pairs(found)}
    assert len(found.held) == 1 or {name[:5] for name in found.held} == {"sub-1"}
    held = {name.removesuffix(".nii.gz") for name in found.held}
    # one subject is held out, which leaves no pair to look at but those that are trained on
    assert told == {(a, b) for a, b in every if not held & {a, b}}
    assert set(found.validation) <= set(found.training)


def test_a_subject_is_held_out_with_all_its_images(tmp_path):
    names = [f"sub-{s}_ses-{v}_T1w" for s in range(5) for v in (1, 2)]
    found = find_cases(tree(tmp_path / "d", *names), validation=2)
    assert len(found.held) == 4
    assert len({name[:5] for name in found.held}) == 2
    assert len(found.training) == 6 * 4
    looked = {found.cases[i].image.name for pair in found.validation for i in pair}
    assert looked == set(found.held)


def test_two_contrasts_make_pairs_within_a_session(tmp_path):
    root = tree(
        tmp_path / "d",
        *(f"sub-{s}_ses-{v}_{kind}" for s in "12" for v in "ab" for kind in ("T1w", "T2w")),
        "sub-3_ses-a_T1w",
    )
    found = find_cases(root, fixed="T1w", moving="T2w")
    assert pairs(found) == {(f"{s}_ses-{v}_T1w", f"{s}_ses-{v}_T2w") for s in "12" for v in "ab"}
    over = find_cases(root, fixed="ses-a_T1w", moving="ses-b_T2w")
    assert pairs(over) == {(f"{s}_ses-a_T1w", f"{s}_ses-b_T2w") for s in "12"}


def test_one_contrast_makes_pairs_between_the_sessions_of_a_subject(tmp_path):
    names = ("sub-1_ses-a_T1w", "sub-1_ses-b_T1w", "sub-2_ses-a_T1w", "sub-2_ses-b_T1w")
    root = tree(tmp_path / "d", *names)
    both = {(f"{s}_ses-{v}_T1w", f"{s}_ses-{w}_T1w") for s in "12" for v, w in ("ab", "ba")}
    assert pairs(find_cases(root, fixed="T1w", moving="T1w")) == both
    forth = {(f"{s}_ses-a_T1w", f"{s}_ses-b_T1w") for s in "12"}
    assert pairs(find_cases(root, fixed="ses-a_T1w", moving="ses-b_T1w")) == forth


def test_labels_are_found_by_the_same_entities(tmp_path):
    root = tree(
        tmp_path / "d",
        *("sub-1_run-1_T1w", "sub-1_run-2_T1w", "sub-2_T1w", "sub-3_T1w"),
        "derivatives/fs/sub-1_run-2_dseg",
        "derivatives/fs/sub-2_desc-aseg_dseg",
        "derivatives/fs/sub-2_space-MNI_dseg",
        "derivatives/fs/sub-3_acq-other_dseg",
    )
    told = {
        "sub-1_run-2_T1w.nii.gz": "sub-1_run-2_dseg.nii.gz",
        "sub-2_T1w.nii.gz": "sub-2_desc-aseg_dseg.nii.gz",
    }
    assert labels(find_cases(root)) == told
    tree(root, "derivatives/other/sub-2_atlas-aal_dseg")
    with pytest.raises(ValueError, match=r"sub-2_T1w.* has the label maps .*--labels desc-aseg"):
        find_cases(root)
    only = {"sub-2_T1w.nii.gz": "sub-2_atlas-aal_dseg.nii.gz"}
    assert labels(find_cases(root, "atlas-aal")) == only
    with pytest.raises(FileNotFoundError, match="has labels atlas-none"):
        find_cases(root, "atlas-none")


def test_of_two_contrasts_a_label_map_says_which_it_is_of(tmp_path):
    names = [f"sub-{s}_{kind}" for s in "12" for kind in ("T1w", "T2w")]
    root = tree(tmp_path / "d", *names, "sub-1_dseg", "sub-2_space-T2w_dseg")
    found = find_cases(root, fixed="T1w", moving="T2w")
    assert labels(found) == {"sub-2_T2w.nii.gz": "sub-2_space-T2w_dseg.nii.gz"}


def test_images_that_were_brought_elsewhere_are_left_out_unless_asked_for(tmp_path):
    names = [f"sub-{s}_{kind}T1w" for s in "12" for kind in ("", "space-MNI_")]
    root = tree(tmp_path / "d", *names)
    assert pairs(find_cases(root)) == {("1_T1w", "2_T1w"), ("2_T1w", "1_T1w")}
    brought = find_cases(root, fixed="space-MNI_T1w")
    assert ("1_space-MNI_T1w", "2_space-MNI_T1w") in pairs(brought)
    assert len(brought.cases) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, r"holds T1w \(2\), T2w \(1\); say which: --fixed T1w"),
        ({"fixed": "FLAIR"}, "holds no FLAIR; it holds T1w, T2w"),
        ({"moving": "T2w"}, "--moving is given without --fixed"),
        ({"fixed": "T2w"}, "all images are of one subject; give --moving"),
        ({"fixed": "ses-1_T1w", "moving": "T2w"}, "holds no ses-1_T1w"),
        ({"fixed": "T1w", "moving": "acq-a_T1w"}, "holds no acq-a_T1w"),
        ({"fixed": "T1w", "moving": "T1w"}, "no subject has both T1w and T1w"),
        ({"fixed": "_T1=_T2"}, "says what names of files say, such as T1w"),
        ({"fixed": "T1w", "labels": "_T1=_label"}, "--labels says what names of files say"),
    ],
)
def test_what_makes_no_pair_says_what_there_is(tmp_path, given, said):
    root = tree(tmp_path / "d", "sub-1_T1w", "sub-2_T1w", "sub-1_T2w")
    with pytest.raises(ValueError, match=said):
        find_cases(root, **given)


def test_other_folders_take_no_names_of_bids(tmp_path):
    with pytest.raises(ValueError, match=r"no folder with a dataset_description\.json"):
        find_cases(tmp_path, fixed="T1w")
    with pytest.raises(ValueError, match="holds no images named as in BIDS"):
        find_cases(tree(tmp_path / "d"))


def test_the_command_trains_on_a_data_set(tmp_path):
    root = tree(tmp_path / "d", "sub-1_T1w", "sub-1_T2w", "sub-2_T1w", "sub-2_T2w")
    for number, path in enumerate(sorted(root.rglob("*.nii.gz"))):
        write_image(textured((22, 20), seed=number // 2).image, path)
    out = tmp_path / "m.safetensors"
    command = ["train", str(root), "--fixed", "T1w", "--moving", "T2w", "--steps", "2"]
    main(
        [*command, "--predictor", "pyramid(widths=(4, 8), hidden=(8, 8), dim=2)", "--out", str(out)]
    )
    assert torch.isfinite(torch.tensor(list(read_model(out)[1]["numbers"].values()))).all()
    assert read_model(out)[1]["data"]["pairs"] == 2
