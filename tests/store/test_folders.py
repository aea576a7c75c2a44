import os

from streamd.store import folders
from streamd.store.folders import set_aside, sync
from tests.store.faults import Disk


def test_a_file_set_aside_keeps_its_name_and_content(tmp_path):
    path = tmp_path / "some.db"
    path.write_bytes(b"content")
    there = set_aside(path)
    assert there == tmp_path / "quarantine" / "some.db"
    assert there.read_bytes() == b"content"
    assert not path.exists()
    assert there.parent.stat().st_mode & 0o777 == 0o700


def test_files_of_one_name_are_all_kept(tmp_path):
    places = []
    for content in (b"1", b"2", b"3"):
        path = tmp_path / "some.db-wal"
        path.write_bytes(content)
        places.append(set_aside(path))
    assert [place.name for place in places] == ["some.db-wal", "some.1.db-wal", "some.2.db-wal"]
    assert [place.read_bytes() for place in places] == [b"1", b"2", b"3"]


def test_a_file_set_aside_stays_there_when_the_power_fails(tmp_path, monkeypatch):
    path = tmp_path / "some.db"
    path.write_bytes(b"content")
    disk = Disk(tmp_path)
    disk.install(monkeypatch, folders)
    there = set_aside(path)
    for seed in range(8):
        disk.restore(seed)
        assert there.read_bytes() == b"content"
        assert not path.exists()


def test_a_new_name_lasts_from_the_sync_of_its_folder(tmp_path, monkeypatch):
    disk = Disk(tmp_path)
    disk.install(monkeypatch, folders)
    descriptor = folders.os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT)
    os.close(descriptor)
    sync(tmp_path)
    for seed in range(8):
        disk.restore(seed)
        assert (tmp_path / "new").exists()
