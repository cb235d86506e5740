import pytest

from coincide.files.label_table import read_label_map, read_label_table

SNAP = """################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Left kidney"
    7     0  255    0      0.5  1  1    "liver"
"""
FREESURFER = """#No. Label Name:                R   G   B   A

0   Unknown                                 0   0   0   0
17  Left-Hippocampus                        220 216 20  0
1001 ctx-lh-bankssts                        25  100 40  0
"""
TEXTS = {
    "a.csv": "number,name\n1,Left kidney\n7,liver\n",
    "swapped.csv": "organ;number\nLeft kidney;1\nliver;7\n",
    "bare.csv": "1,Left kidney\n7,liver\n",
    "bare.tsv": "Left kidney\t1\nliver\t7\n",
    "wide.tsv": "index\tR\tG\tB\tname\n1\t9\t9\t9\tLeft kidney\n7\t1\t2\t3\tliver\n",
    "bids.tsv": "index\tname\tabbreviation\n1\tLeft kidney\tLK\n7\tliver\tL\n",
    "label.csv": "label,name\n1,Left kidney\n7.0,liver\n",
    "a.json": '{"1": "Left kidney", "7": "liver"}',
    "turned.json": '{"labels": {"Left kidney": 1, "liver": 7}}',
    "a.toml": '[labels]\n1 = "Left kidney"\n7 = "liver"\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_names_are_read_from_every_table(name, tmp_path):
    path = tmp_path / name
    path.write_text(TEXTS[name], encoding="utf-8-sig" if name == "a.csv" else "utf-8")
    assert read_label_table(path) == {1: "Left kidney", 7: "liver"}


def test_names_are_read_as_itk_snap_and_freesurfer_write_them(tmp_path):
    snap, freesurfer = tmp_path / "snap.txt", tmp_path / "FreeSurferColorLUT.txt"
    snap.write_text(SNAP)
    freesurfer.write_text(FREESURFER)
    assert read_label_table(snap) == {0: "Clear Label", 1: "Left kidney", 7: "liver"}
    assert read_label_table(freesurfer) == {
        0: "Unknown",
        17: "Left-Hippocampus",
        1001: "ctx-lh-bankssts",
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "just words\n", "no label table"),
        ("a.csv", "", "no label table"),
        ("a.csv", "number,name\n", "lack a column"),
        ("a.csv", "number,name\n1\n", r"lines \[1\] lack a column"),
        ("a.csv", "r,g,b\n", "has the columns r, g, b; it needs number and name"),
        ("a.csv", "number,name\n1,liver\n1,spleen\n", "two names, 'liver' and 'spleen'"),
        ("a.csv", "number,name\none,liver\n", "has no whole number"),
        ("a.csv", "number,name\n1.5,liver\n", "has no whole number"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[1, 2]", "holds a list"),
        ("a.json", '{"ct": {"1": "liver"}, "mr": {"1": "liver"}}', "holds ct, mr"),
        ("a.toml", "labels", "cannot be read"),
        ("a.json", "{}", "names no label"),
        ("a.txt", SNAP + "8 nonsense\n", "the line '8 nonsense' is not as the others"),
    ],
)
def test_what_is_no_table_is_said_to_be_none(name, text, said, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_label_table(path)


def test_a_missing_file_and_one_that_is_not_text_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.csv"):
        read_label_table(tmp_path / "gone.csv")
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="is not text"):
        read_label_table(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "fixed,moving\n23,52\n1,9\n"),
        ("a.csv", "52,23\n9,1\n"),
        ("a.tsv", "name\tmoving\tfixed\naorta\t52\t23\nspleen\t9\t1\n"),
        ("a.json", '{"52": 23, "9": 1}'),
        ("a.toml", "[moving_label_map]\n52 = 23\n9 = 1\n"),
    ],
)
def test_a_map_of_numbers_is_read_from_moving_to_fixed(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    assert read_label_map(path) == {52: 23, 9: 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "needs moving and fixed"),
        ("moving,fixed\n1,liver\n", r"entries \[1\] are not two whole numbers"),
        ("moving,fixed\n1,2\n1,3\n", "gives the label 1 two fixed numbers, 2 and 3"),
    ],
)
def test_a_map_that_is_not_of_numbers_is_refused(text, said, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_label_map(path)
