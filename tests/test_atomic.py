import os
import stat

import pytest

from ecgtwin.atomic import write_file, write_files, write_text


def test_a_file_is_there_whole_and_readable_by_all(tmp_path):
    path = write_text(tmp_path / "new" / "a.json", "über")
    assert path.read_text(encoding="utf-8") == "über" and [p.name for p in path.parent.iterdir()] == ["a.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_the_temporary_file_ends_as_the_file_does(tmp_path):
    seen = []
    write_file(tmp_path / "a.png", lambda p: (seen.append(p.suffix), p.write_bytes(b"x")))
    assert seen == [".png"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")

    def half(place):
        place.write_text("ne")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_file(path, half)
    with pytest.raises(OSError, match="full"):
        write_files(tmp_path, lambda folder: half(folder / "a.txt"))
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_several_files_come_together(tmp_path):
    write_text(tmp_path / "b", "old")
    made = write_files(tmp_path, lambda folder: [(folder / name).write_text(name) for name in "cb"])
    assert [p.name for p in made] == ["b", "c"] and all(p.read_text() == p.name for p in tmp_path.iterdir())
