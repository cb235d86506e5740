"""Landmarks in tables and in the files of 3D Slicer and transformix."""

import json
import warnings

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from PIL import Image as Picture

from coincide.files.points import load_points, read_points, write_moved, write_points
from coincide.files.read import read_image
from coincide.space.grid import Grid
from coincide.space.image import Image

POINTS = np.array([[1.5, -2.25, 1e-7], [40.0, 5.0, 6.0]])
LPS = POINTS * [-1, -1, 1]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("name", "world"), [("a.csv", "ras"), ("a_lps.csv", "lps")])
def test_round_trip(tmp_path, dim, name, world):
    write_points(POINTS[:, :dim], tmp_path / name, world=world)
    np.testing.assert_array_equal(read_points(tmp_path / name), POINTS[:, :dim])


def test_tables(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,Z,X,Y\ntip,3,1,2\n\nend,6,4,5\n")
    np.testing.assert_array_equal(read_points(path), [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(read_points(path, world="lps"), [[-1, -2, 3], [-4, -5, 6]])
    path.write_text("1,2,3\n4,5,6\n")
    np.testing.assert_array_equal(read_points(path), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("said", "points"), [("0", POINTS), ("LPS", LPS), ("1", LPS)])
def test_fcsv(tmp_path, said, points):
    rows = [f"id{n},{x},{y},{z},0,0,0,1,1,1,0,F-{n},," for n, (x, y, z) in enumerate(points)]
    heading = f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {said}\n"
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    (tmp_path / "a.fcsv").write_text(heading + columns + "\n".join(rows) + "\n")
    np.testing.assert_allclose(read_points(tmp_path / "a.fcsv"), POINTS)


@pytest.mark.parametrize(("world", "points"), [("LPS", LPS), ("RAS", POINTS)])
def test_slicer_markups(tmp_path, world, points):
    controls = [{"id": str(n), "position": p.tolist()} for n, p in enumerate(points)]
    content = {"markups": [{"coordinateSystem": world, "controlPoints": controls}]}
    (tmp_path / "a.mrk.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(read_points(tmp_path / "a.mrk.json"), POINTS)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", ["points.txt", "points.pts"])
def test_transformix_points_are_lps_mm(tmp_path, name, dim):
    rows = "\n".join(" ".join(map(repr, row)) for row in LPS[:, :dim].tolist())
    (tmp_path / name).write_text(f"point\n2\n{rows}\n")
    np.testing.assert_array_equal(read_points(tmp_path / name), POINTS[:, :dim])
    (tmp_path / name).write_text(f"Point \r\n2\r\n\r\n{rows}\r\n\r\n", newline="")
    np.testing.assert_array_equal(read_points(tmp_path / name), POINTS[:, :dim])
    np.testing.assert_array_equal(read_points(tmp_path / name, world="ras"), LPS[:, :dim])


@pytest.mark.parametrize("dim", [2, 3])
def test_transformix_indices_are_voxels_of_an_image(tmp_path, dim):
    affine = np.eye(dim + 1)
    affine[0, 1], affine[1, 0], affine[:-1, -1] = -2.0, 1.5, [5, 6, 7][:dim]
    affine[0, 0] = affine[1, 1] = 0
    grid = Grid((9,) * dim, affine)
    index = np.array([[0, 3, 5], [8, 1, 2]])[:, :dim]
    rows = "\n".join(" ".join(map(str, row)) for row in index.tolist())
    (tmp_path / "a.txt").write_text(f"index\n2\n{rows}\n")
    np.testing.assert_allclose(read_points(tmp_path / "a.txt", image=grid), grid.to_world(index))
    with pytest.raises(ValueError, match=r"voxel indices.*image="):
        read_points(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"world="):
        read_points(tmp_path / "a.txt", image=grid, world="lps")
    other = Grid((9,) * (5 - dim), np.eye(6 - dim))
    with pytest.raises(ValueError, match=rf"{dim} axes.*{5 - dim}"):
        read_points(tmp_path / "a.txt", image=other)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no points"),
        ("a.csv", "a,b,c\n1,2,3\n", "needs x, y and z"),
        ("a.csv", "x,y,z\n1,2,\n", "point 1 is"),
        ("a.csv", "x,y,z\n1,2,nan\n", "not numbers"),
        ("a.mrk.json", "{}", "markup"),
        ("a.fcsv", "# nothing", "no points"),
        ("a.txt", "point\n", "how many"),
        ("a.txt", "point\n2.5\n1 2 3\n", "how many"),
        ("a.txt", "index\n0\n", "no points"),
        ("a.txt", "point\n3\n1 2 3\n4 5 6\n", "says 3 points, 2 lines"),
        ("a.txt", "point\n1\n1 2 3\n4 5 6\n", "says 1 points, 2 lines"),
        ("a.txt", "point\n2\n1 2 3\n4 5\n", "2 or 3 numbers"),
        ("a.txt", "point\n1\n1 2 3 4\n", "2 or 3 numbers"),
        ("a.txt", "point\n1\n1 two 3\n", "point 1 is"),
        ("a.txt", "point\n1\n1 nan 3\n", "not numbers"),
    ],
)
def test_refusals(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_points(tmp_path / name)


def test_names_and_shapes_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"call it a_lps\.csv"):
        write_points(POINTS, tmp_path / "a.csv", world="lps")
    with pytest.raises(ValueError, match=r"call it a\.csv"):
        write_points(POINTS, tmp_path / "a_lps.csv")
    with pytest.raises(ValueError, match=r"\(P, 2\) or"):
        write_points(np.zeros(3), tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError):
        read_points(tmp_path / "none.csv")


MARKUPS = {
    "@schema": "https://example.org/markups-schema-v1.0.3.json#",
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "controlPoints": [
                {"id": "7", "label": "apex", "position": [1.0, 2.0, 3.0], "locked": True},
                {
                    "id": "8",
                    "label": "unplaced",
                    "position": [0, 0, 0],
                    "positionStatus": "undefined",
                },
                {
                    "id": "9",
                    "label": "Spitze ü",
                    "position": [4.0, 5.0, 6.0],
                    "description": "x, y",
                },
            ],
            "display": {"color": [0.4, 1.0, 1.0], "textScale": 3.5},
        }
    ],
}
FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = LPS
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,1.0,2.0,3.0,0,0,0,1,1,0,1,apex,"a, b",vtkMRMLScalarVolumeNode1
vtkMRMLMarkupsFiducialNode_1,4.0,5.0,6.0,0,0,0,1,1,1,0,base,,
"""
SHIFT = np.array([10.0, 20.0, 30.0])


def moved(path, target, shift=SHIFT, **options):
    """Shift the points of a file in RAS and write them elsewhere."""
    found = load_points(path, **options)
    return write_moved(found, found.points + shift, target)


@pytest.mark.parametrize("world", ["LPS", "RAS"])
def test_markups_keep_everything_but_their_positions(tmp_path, world):
    content = json.loads(json.dumps(MARKUPS))
    content["markups"][0]["coordinateSystem"] = world
    (tmp_path / "p.mrk.json").write_text(json.dumps(content), encoding="utf-8")
    assert moved(tmp_path / "p.mrk.json", tmp_path / "q.mrk.json") == (world.lower(), ())
    again = json.loads((tmp_path / "q.mrk.json").read_text(encoding="utf-8"))
    signs = np.array([-1, -1, 1]) if world == "LPS" else 1
    for number in (0, 2):
        control = content["markups"][0]["controlPoints"][number]
        control["position"] = (np.array(control["position"]) + signs * SHIFT).tolist()
    assert again == content


def test_fcsv_keeps_everything_but_its_positions(tmp_path):
    (tmp_path / "p.fcsv").write_text(FCSV)
    assert moved(tmp_path / "p.fcsv", tmp_path / "q.fcsv") == ("lps", ())
    expected = FCSV.replace("1.0,2.0,3.0", "-9.0,-18.0,33.0").replace(
        "4.0,5.0,6.0", "-6.0,-15.0,36.0"
    )
    assert (tmp_path / "q.fcsv").read_text() == expected


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_tables_keep_every_column_and_line(tmp_path, mark, ending):
    text = ending.join(
        [
            "# drawn by hand",
            mark.join(["", "label", "Z", "X", "Y", "sure"]),
            mark.join(["1", '"left, a;b"', "3.0", "1.0", "2.0", "0.5"]),
            mark.join(["2", "end", "6.0", "4.0", "5.0", ""]),
            "",
        ]
    )
    name = "p.tsv" if mark == "\t" else "p.csv"
    (tmp_path / name).write_bytes(text.encode())
    moved(tmp_path / name, tmp_path / f"q{name[1:]}")
    found = (tmp_path / f"q{name[1:]}").read_bytes().decode()
    parts = {"3.0": "33.0", "1.0": "11.0", "2.0": "22.0", "6.0": "36.0", "4.0": "14.0"}
    for old, new in (parts | {"5.0": "25.0"}).items():
        text = text.replace(f"{mark}{old}", f"{mark}{new}")
    # quotes stand only where the delimiter asks for them
    assert found.replace('"', "") == text.replace('"', "")
    if mark != "\t":
        assert '"left, a;b"' in found


def test_plain_numbers_stay_plain(tmp_path):
    (tmp_path / "p.txt").write_text("1.0 2.0   3.0\n4.0 5.0 6.0\n")
    moved(tmp_path / "p.txt", tmp_path / "q.txt")
    assert (tmp_path / "q.txt").read_text() == "11.0 22.0 33.0\n14.0 25.0 36.0\n"


def test_transformix_points_stay_what_they_are(tmp_path):
    (tmp_path / "p.pts").write_text("point\n1\n1.0 2.0 3.0\n")
    moved(tmp_path / "p.pts", tmp_path / "q.txt")
    assert (tmp_path / "q.txt").read_text() == "point\n1\n-9.0 -18.0 33.0\n"


@pytest.mark.parametrize("source", ["a.csv", "a.tsv", "a.fcsv", "a.mrk.json", "a.pts"])
@pytest.mark.parametrize("target", ["b.csv", "b_lps.csv", "b.tsv", "b.fcsv", "b.mrk.json", "b.pts"])
def test_another_format_holds_the_same_points_and_names(tmp_path, source, target):
    (tmp_path / "t.csv").write_text("x,y,z,label,age\n1,2,3,apex,5\n4,5,6,base,7\n")
    found = load_points(tmp_path / "t.csv")
    write_moved(found, found.points, tmp_path / source)
    found = load_points(tmp_path / source)
    world, notes = write_moved(found, found.points, tmp_path / target)
    np.testing.assert_array_equal(read_points(tmp_path / target), [[1, 2, 3], [4, 5, 6]])
    text = (tmp_path / target).read_text()
    if source != "a.pts":
        assert ("apex" in text) == (target != "b.pts")
    assert ("lps" if target.split(".")[0].endswith("_lps") else world) == world
    if source.endswith("sv") and not source.endswith("fcsv") and not target.endswith(".csv"):
        assert ("age" in text) or "cannot hold" in notes[0]


def test_slicer_reads_what_was_converted(tmp_path):
    """The markups have what 3D Slicer's schema asks for."""
    write_points(POINTS, tmp_path / "a.mrk.json")
    markup = json.loads((tmp_path / "a.mrk.json").read_text())["markups"][0]
    assert (markup["type"], markup["coordinateSystem"]) == ("Fiducial", "LPS")
    assert markup["controlPoints"][1]["position"] == LPS[1].tolist()
    assert markup["controlPoints"][0]["label"] == "F-1"


def test_ants_tables_are_lps_when_that_is_said(tmp_path):
    path = tmp_path / "ants.csv"
    path.write_text("x,y,z,t,label,comment\n1.0,2.0,3.0,0,4,a\n")
    np.testing.assert_array_equal(read_points(path, world="lps"), [[-1, -2, 3]])
    with pytest.warns(UserWarning, match=r"as ANTs writes them, whose points are LPS.*--world lps"):
        np.testing.assert_array_equal(read_points(path), [[1, 2, 3]])
    assert moved(path, tmp_path / "out.csv", world="lps") == ("lps", ())
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "-9.0,-18.0,33.0,0,4,a"


def test_the_name_of_a_table_decides_its_world(tmp_path):
    write_points(POINTS, tmp_path / "a_lps.csv", world="lps")
    assert moved(tmp_path / "a_lps.csv", tmp_path / "b.csv", 0)[0] == "ras"
    assert moved(tmp_path / "b.csv", tmp_path / "c_lps.csv", 0)[0] == "lps"
    for name in ("b.csv", "c_lps.csv"):
        np.testing.assert_array_equal(read_points(tmp_path / name), POINTS)


@pytest.fixture
def picture(tmp_path):
    """A colour picture of 40 x 30 pixels."""
    random = np.random.default_rng(0)
    Picture.fromarray(random.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / "p.png")
    return tmp_path / "p.png"


@pytest.mark.parametrize("given", ["path", "image"])
def test_tables_of_a_picture_are_pixels(tmp_path, picture, given):
    (tmp_path / "a.csv").write_text(",X,Y\n1,5,7\n2,39,29\n")
    image = read_image(picture)
    points = read_points(tmp_path / "a.csv", image=picture if given == "path" else image)
    np.testing.assert_allclose(image.grid.to_index(points), [[5, 7], [39, 29]])
    itk = sitk.ReadImage(str(picture)).TransformIndexToPhysicalPoint((5, 7))
    assert (points[0] * [-1, -1]).tolist() == list(itk)
    assert load_points(tmp_path / "a.csv", image=picture).warnings == ()


def test_points_that_were_written_in_ras_are_read_back_beside_a_picture(tmp_path, picture):
    image = read_image(picture)
    points = image.grid.to_world(np.array([[5, 7], [39, 29.0]]))
    write_points(points, tmp_path / "a.csv")
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv", image=image), points)


def test_tables_of_an_image_with_a_world_are_ras(tmp_path):
    affine = np.diag([0.5, 0.5, 1])
    image = Image(torch.zeros(1, 1, 40, 30), Grid((40, 30), affine))
    (tmp_path / "a.csv").write_text("x,y\n5,7\n")
    assert read_points(tmp_path / "a.csv", image=image).tolist() == [[5, 7]]
    assert read_points(tmp_path / "a.csv", image=image, world="pixel").tolist() == [[2.5, 3.5]]


def test_points_outside_their_image_are_told_with_the_world_that_would_fit(tmp_path):
    image = Image(torch.zeros(1, 1, 10, 10, 10), Grid((10, 10, 10), np.diag([-2, -2, 2, 1])))
    (tmp_path / "a.csv").write_text("x,y,z\n5,7,8\n6,6,9\n-4,-4,4\n")
    with pytest.warns(UserWarning, match=r"2 of 3 points of a\.csv lie outside .*\(points 1, 2"):
        read_points(tmp_path / "a.csv", image=image)
    (note,) = load_points(tmp_path / "a.csv", image=image).warnings
    assert "as lps 2 would lie inside: say --world lps" in note
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_points(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("x,y\n5,7\n")
    with pytest.raises(ValueError, match="have 2 axes, their image has 3"):
        read_points(tmp_path / "b.csv", image=image)


def test_points_of_ants_in_two_dimensions_have_a_third_of_zero(tmp_path, picture):
    (tmp_path / "a.csv").write_text("x,y,z,t\n5.0,7.0,0,0\n")
    found = load_points(tmp_path / "a.csv", image=picture, world="lps")
    assert found.points.tolist() == [[-5, -7]]
    write_moved(found, found.points + np.array([1, 2]), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == "x,y,z,t\n4.0,5.0,0.0,0\n"


@pytest.mark.parametrize("world", ["LAS", "pixels"])
def test_an_unknown_world_is_refused(tmp_path, world):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(ValueError, match="known: auto, ras, lps, pixel"):
        read_points(tmp_path / "a.csv", world=world)


def test_pixels_without_their_image_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(ValueError, match="mean nothing without their image"):
        read_points(tmp_path / "a.csv", world="pixel")


def test_landmarks_of_histology_are_pixels(real_data):
    folder = real_data / "histology_2d"
    sides = []
    for stain in ("HE", "proSPC"):
        stem = folder / f"Izd2-29-041-w35_{stain}"
        image = read_image(f"{stem}.jpg")
        found = load_points(f"{stem}.csv", image=image)
        assert (found.world, found.warnings) == ("pixel", ())
        rows = np.loadtxt(f"{stem}.csv", delimiter=",", skiprows=1)[:, 1:]
        np.testing.assert_allclose(image.grid.to_index(found.points), rows)
        sides.append(found.points)
    apart = np.linalg.norm(sides[0] - sides[1], axis=1)
    assert apart.mean() == pytest.approx(76.4, abs=0.1)
