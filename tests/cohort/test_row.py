"""The table of pairs: what it may say, and what is refused."""

import pytest

from coincide.cli.batch import FILES, KNOWN, PERHAPS
from coincide.cohort.row import read_rows, stem


def rows(path, text, encoding="utf-8", **shared):
    path.write_text(text, encoding=encoding)
    return read_rows(path, known=KNOWN, files=FILES, perhaps=PERHAPS, shared=shared)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs.csv"


def test_a_table_of_a_spreadsheet_is_read(path, tmp_path):
    text = "Name;Fixed;Moving;Fixed-Labels;objective\r\n"
    text += "à;a.nii.gz;sub/b.nii;;mind; \r\n".replace("mind; ", '"ngf; lncc"') + ";;;;\r\n"
    (row,) = rows(path, text, "utf-8-sig")
    assert row.name == "à"
    assert row.options == {
        "fixed": str(tmp_path / "a.nii.gz"),
        "moving": str(tmp_path / "sub" / "b.nii"),
        "objective": "ngf; lncc",
    }
    assert row.files == ("fixed", "moving")


def test_options_of_the_command_line_hold_where_a_row_says_nothing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    text = "moving,preset\nb.nii,\nc.nii,rigid\n"
    first, second = rows(path, text, fixed="atlas.nii", preset="small")
    assert first.options["preset"] == "small"
    assert second.options["preset"] == "rigid"
    assert first.options["fixed"] == str(tmp_path.parent / "atlas.nii")
    assert first.options["moving"] == str(tmp_path / "b.nii")
    assert [first.name, second.name] == ["b_to_atlas", "c_to_atlas"]


def test_the_command_line_of_a_row_keeps_values_that_look_like_options(path, tmp_path):
    (row,) = rows(path, "fixed,moving,ways,fixed_frame\na,b,--odd,-1\n")
    said = row.arguments(tmp_path / "out")
    assert said[:3] == ("register", str(tmp_path / "a"), str(tmp_path / "b"))
    assert said[3:] == ("--ways=--odd", "--fixed-frame=-1", f"--out={tmp_path / 'out'}")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "fixed,moving,fixd_mask\na,b,c\n",
            "unknown column 'fixd_mask'; did you mean 'fixed_mask'",
        ),
        ("fixed,moving,out\na,b,c\n", "unknown column 'out'"),
        ("fixed,moving,moving\na,b,c\n", "the column 'moving' twice"),
        ("fixed,moving\na\n", "line 2 of"),
        ("fixed,moving\na,b\n\na,b,c\n", "line 4 of"),
        ("fixed,moving\na,\n", "names no moving image"),
        ("name,moving\na,b\n", "names no fixed image"),
        ("name,fixed,moving\nx,a,b\nX,c,d\n", "lines 2 and 3 of"),
        ("fixed,moving\none/t1.nii,one/t2.nii\ntwo/t1.nii,two/t2.nii\n", "in the column 'name'"),
        ("name,fixed,moving\na/b,c,d\n", "cannot be the name of a folder"),
        ("name,fixed,moving\n..,c,d\n", "cannot be the name of a folder"),
        ("name,fixed,moving\nfailed,c,d\n", "cannot be the name of a folder"),
        ("name,fixed,moving\nNUL.a,c,d\n", "cannot be the name of a folder"),
        ("fixed,moving\n", "lists no pair"),
        ("", "lists no pair"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(path, text, part):
    with pytest.raises(ValueError, match=r"pairs\.csv") as error:
        rows(path, text)
    assert part in str(error.value)


def test_a_missing_table_and_another_encoding_are_named(path):
    with pytest.raises(ValueError, match="there is no file"):
        read_rows(path, known=KNOWN, files=FILES)
    with pytest.raises(ValueError, match="UTF-8"):
        rows(path, "fixed,moving\nä,b\n", "latin-1")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/t1.nii.gz", "t1"),
        ("sub-1_T1w.NII", "sub-1_T1w"),
        ("scan.v2", "scan.v2"),
        ("b/dicom", "dicom"),
    ],
)
def test_a_pair_is_called_after_its_files_without_their_format(file, name):
    assert stem(file) == name
