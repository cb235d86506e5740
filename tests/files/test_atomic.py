"""A file is complete or not there, and the message says which file and what would work."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from coincide.files.atomic import atomic
from coincide.files.itk import write_transform
from coincide.files.write import write_image
from coincide.space.image import Image
from coincide.transforms.linear import Affine


def image():
    return Image.from_array(np.ones((4, 5, 6), np.float32))


def failing(number):
    def call(*_arguments, **_named):
        raise OSError(number, os.strerror(number))

    return call


def test_the_old_file_stays_until_the_new_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["a.nii.gz", "b.01.NII.GZ", "a.h5", "none"])
def test_suffixes_are_kept(tmp_path, name):
    with atomic(tmp_path / name) as temporary:
        expected = {"a.nii.gz": ".nii.gz", "b.01.NII.GZ": ".NII.GZ", "a.h5": ".h5", "none": ""}
        assert temporary.name.endswith(expected[name])


def test_any_error_leaves_nothing(tmp_path):
    def write():
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            temporary.with_suffix(".raw").write_text("its second file")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mgz"])
def test_full_disk(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Path, "write_bytes", failing(errno.ENOSPC))
    with pytest.raises(OSError, match=rf"{name}.*disk is full") as caught:
        write_image(image(), tmp_path / name)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_last_moment(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="disk is full"):
        write_transform(Affine(np.eye(4)), tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_read_only_folder(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "open", failing(number))
    with pytest.raises(OSError, match=r"cannot write .*a\.nii.*choose another") as caught:
        write_image(image(), tmp_path / "a.nii")
    assert caught.value.errno == number
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_image(image(), tmp_path / "none" / "a.nii")
    with pytest.raises(IsADirectoryError, match="it is a folder"), atomic(tmp_path):
        pass


def test_a_disk_that_lies_is_caught(tmp_path, monkeypatch):
    real = Path.write_bytes
    wrong = bytes(Image.from_array(np.zeros((1, 1, 1), np.float32)).data.numpy().tobytes())

    def write(self, data):
        block = bytearray(data)
        block[42:44] = wrong[:2]  # dim[1]
        return real(self, bytes(block))

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match="not written as meant"):
        write_image(image(), tmp_path / "a.nii")
    assert list(tmp_path.iterdir()) == []
