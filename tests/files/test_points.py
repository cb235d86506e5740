"""Landmarks in tables and in the files of 3D Slicer and transformix."""

import json

import numpy as np
import pytest

from coincide.files.points import read_points, write_points
from coincide.space.grid import Grid

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
    np.testing.assert_allclose(read_points(tmp_path / "a.txt", grid=grid), grid.to_world(index))
    with pytest.raises(ValueError, match=r"voxel indices.*grid="):
        read_points(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"world="):
        read_points(tmp_path / "a.txt", grid=grid, world="lps")
    other = Grid((9,) * (5 - dim), np.eye(6 - dim))
    with pytest.raises(ValueError, match=rf"{dim} axes.*{5 - dim}"):
        read_points(tmp_path / "a.txt", grid=other)


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
