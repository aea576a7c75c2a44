import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

import streamd
from streamd.store import checkpoint as module
from streamd.store import tensors
from streamd.store.checkpoint import Checkpoint, CheckpointError, describe, load, load_newest, save
from tests.store.formats import record as formats

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from([np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


def some(position: int) -> Checkpoint:
    arrays = {
        "weights": np.full((2, 3), position, np.float32),
        "seen": np.array([True, False]),
        "none": np.zeros((0, 2)),
    }
    return Checkpoint(position, arrays, {"at": position, "rng": 2**127 + position})


def name(position: int) -> str:
    return f"checkpoint-{position:020d}.safetensors"


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_falls_back(folder: Path, damaged: Path) -> str:
    """The checkpoint at 1 is used, the damaged one is kept aside; gives the reason."""
    content = damaged.read_bytes()
    loaded = load_newest(folder)
    assert loaded.checkpoint is not None
    assert loaded.checkpoint.position == 1
    ((there, reason),) = loaded.quarantined
    assert there.parent == folder / "quarantine"
    assert there.read_bytes() == content
    assert not damaged.exists()
    return reason


@given(arrays=ARRAYS, meta=st.dictionaries(st.text(), JSON, max_size=4), position=st.integers(0, 2**63))
@settings(max_examples=60)
def test_what_is_saved_is_loaded_again_bit_for_bit(tmp_path_factory, arrays, meta, position):
    folder = tmp_path_factory.mktemp("state")
    path = save(folder, Checkpoint(position, arrays, meta), keep=3, created=12.5)
    loaded = load_newest(folder)
    assert loaded.quarantined == ()
    assert loaded.created == 12.5
    found = loaded.checkpoint
    assert found is not None
    assert (path.name, found.position, found.meta) == (name(position), position, meta)
    assert json.dumps(found.meta) == json.dumps(meta)  # tells 1 from 1.0 and from True
    assert found.arrays.keys() == arrays.keys()
    for key, array in arrays.items():
        assert (found.arrays[key].dtype, found.arrays[key].shape) == (array.dtype, array.shape)
        assert found.arrays[key].tobytes() == array.tobytes()


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert load_newest(tmp_path) == module.Loaded(None, None, ())
    assert describe(tmp_path) == []


def test_the_newest_is_loaded(tmp_path):
    for position in (2, 10, 9_000_000_000):
        save(tmp_path, some(position), keep=3, created=0.0)
    loaded = load_newest(tmp_path)
    assert loaded.checkpoint is not None
    assert loaded.checkpoint.position == 9_000_000_000


def test_only_the_newest_are_kept(tmp_path):
    for position in range(6):
        save(tmp_path, some(position), keep=2, created=0.0)
    assert visible(tmp_path) == [name(4), name(5)]


def test_a_second_checkpoint_at_one_position_takes_the_place_of_the_first(tmp_path):
    save(tmp_path, some(4), keep=2, created=1.0)
    save(tmp_path, some(4), keep=2, created=2.0)
    assert load_newest(tmp_path).created == 2.0
    assert visible(tmp_path) == [name(4)]


def test_a_position_never_goes_back(tmp_path):
    save(tmp_path, some(4), keep=2, created=0.0)
    with pytest.raises(ValueError, match="at 4, beyond 3"):
        save(tmp_path, some(3), keep=2, created=0.0)
    assert visible(tmp_path) == [name(4)]


@pytest.mark.parametrize(("position", "keep"), [(-1, 1), (0, 0)])
def test_a_negative_position_and_keeping_none_are_refused(tmp_path, position, keep):
    with pytest.raises(ValueError, match="expected at least"):
        save(tmp_path, Checkpoint(position, {}, {}), keep=keep, created=0.0)


@pytest.mark.parametrize("meta", [{"x": math.nan}, {"x": math.inf}, {"x": object()}, {"x": np.float32(1)}])
def test_meta_that_json_cannot_say_is_refused_and_leaves_nothing(tmp_path, meta):
    with pytest.raises((ValueError, TypeError)):
        save(tmp_path, Checkpoint(0, {}, meta), keep=1, created=0.0)
    assert visible(tmp_path) == []


def test_the_file_is_plain_safetensors_that_only_we_may_read(tmp_path):
    path = save(tmp_path, some(7), keep=1, created=0.0)
    np.testing.assert_array_equal(load_file(path)["weights"], np.full((2, 3), 7, np.float32))
    assert path.stat().st_mode & 0o777 == 0o600


# --- durability ---


def test_a_checkpoint_is_durable_before_older_ones_go(tmp_path, monkeypatch):
    save(tmp_path, some(1), keep=1, created=0.0)
    steps: list[str] = []

    def noted(step, function):
        def call(*args, **kwargs):
            is_folder = step == "fsync" and Path(f"/proc/self/fd/{args[0]}").is_dir()
            steps.append(f"{step} folder" if is_folder else step)
            return function(*args, **kwargs)

        return call

    for step in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, step, noted(step, getattr(os, step)))
    save(tmp_path, some(2), keep=1, created=0.0)
    assert steps == ["fsync", "replace", "fsync folder", "unlink"]


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_before_the_rename_leaves_the_old_one_and_its_litter_is_cleaned(tmp_path, monkeypatch, step):
    save(tmp_path, some(1), keep=3, created=0.0)

    def fails(*_args, **_kwargs):
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(PowerCut):
            save(tmp_path, some(2), keep=3, created=0.0)
    assert len(visible(tmp_path)) == 2
    loaded = load_newest(tmp_path)
    assert loaded.checkpoint is not None
    assert loaded.checkpoint.position == 1
    assert loaded.quarantined == ()
    assert visible(tmp_path) == [name(1)]


def test_a_full_disk_is_an_os_error_that_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    save(tmp_path, some(1), keep=1, created=0.0)

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tensors, "write", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, some(2), keep=1, created=0.0)
    assert visible(tmp_path) == [name(1)]


# --- damage ---


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = save(tmp_path, some(2), keep=3, created=0.0)
    good = path.read_bytes()
    for number in range(len(good)):
        bad = bytearray(good)
        bad[number] ^= 1 << number % 8
        path.write_bytes(bad)
        (newest, _) = describe(tmp_path)
        assert not newest.ok, f"byte {number}"


@given(data=st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_quarantined_and_the_one_before_used(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("state")
    save(folder, some(1), keep=3, created=0.0)
    path = save(folder, some(2), keep=3, created=0.0)
    bad = bytearray(path.read_bytes())
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bad)
    assert assert_falls_back(folder, path)


@given(data=st.data())
@settings(max_examples=60)
def test_a_truncated_file_is_quarantined_and_the_one_before_used(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("state")
    save(folder, some(1), keep=3, created=0.0)
    path = save(folder, some(2), keep=3, created=0.0)
    os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    assert assert_falls_back(folder, path)


def test_every_truncation_is_noticed(tmp_path):
    path = save(tmp_path, some(2), keep=3, created=0.0)
    for size in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, size)
        assert not describe(tmp_path)[0].ok, f"{size} bytes"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "only 0 bytes"), (b"\0" * 4096, "header"), (os.urandom(4096), "header"), (b"PK\3\4" * 99, "header")],
    ids=["empty", "zeros", "noise", "zip"],
)
def test_a_file_of_another_kind_is_quarantined(tmp_path, caplog, content, reason):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = tmp_path / name(2)
    path.write_bytes(content)
    assert reason in assert_falls_back(tmp_path, path)
    assert name(2) in caplog.text


def test_safetensors_without_our_header_are_quarantined(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = tmp_path / name(2)
    save_file({"a": np.zeros(3)}, path)
    assert assert_falls_back(tmp_path, path) == "no checkpoint of streamd"


def forge(path: Path, **changes) -> None:
    """A file whose digest is right and whose header says something else."""
    header = {"format": "streamd-checkpoint", "version": 1, "streamd": "9.9", "created": 0.0, "position": 2, "meta": {}}
    text = json.dumps({**header, **changes})
    array = np.zeros(3)
    digest = module._Digest(text)
    digest.add("a", array)
    save_file({"a": array}, path, {"streamd": text, "sha256": digest.text()})


def test_a_wrong_digest_is_quarantined(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = tmp_path / name(2)
    save_file({"a": np.zeros(3)}, path, {"streamd": "{}", "sha256": "0" * 64})
    assert assert_falls_back(tmp_path, path) == "its digest is wrong"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "elsewhere"}, "elsewhere"),
        ({"position": 3}, "its name says position 2, its header 3"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"meta": []}, "meta"),
        ({"more": 1}, "more"),
    ],
)
def test_a_sound_file_with_a_strange_header_is_quarantined(tmp_path, changes, reason):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = tmp_path / name(2)
    forge(path, **changes)
    assert reason in assert_falls_back(tmp_path, path)


def test_several_damaged_files_in_a_row_are_passed_over(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    for position in (2, 3):
        (tmp_path / name(position)).write_bytes(b"torn")
    loaded = load_newest(tmp_path)
    assert [path.name for path, _ in loaded.quarantined] == [name(3), name(2)]
    assert loaded.checkpoint is not None
    assert loaded.checkpoint.position == 1


def test_a_second_damaged_file_of_one_name_does_not_overwrite_the_first(tmp_path):
    for content in (b"first", b"second", b"third"):
        (tmp_path / name(2)).write_bytes(content)
        load_newest(tmp_path)
    assert {path.read_bytes() for path in (tmp_path / "quarantine").iterdir()} == {b"first", b"second", b"third"}
    assert len(describe(tmp_path)) == 3


def test_other_files_are_left_alone(tmp_path):
    others = ["lock", "checkpoint-1.safetensors", "checkpoint-old.safetensors", f"{name(3)}.bak", "journal.sqlite"]
    for other in others:
        (tmp_path / other).write_text("mine")
    (tmp_path / name(9)).mkdir()
    save(tmp_path, some(1), keep=1, created=0.0)
    loaded = load_newest(tmp_path)
    assert loaded.checkpoint is not None
    assert visible(tmp_path) == sorted([*others, name(1), name(9)])


def test_a_bad_sector_counts_as_damage(tmp_path, monkeypatch):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = save(tmp_path, some(2), keep=3, created=0.0)
    read = tensors.read

    def unreadable(file):
        if file.name == str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(file)

    monkeypatch.setattr(tensors, "read", unreadable)
    assert assert_falls_back(tmp_path, path) == "the disk can't read it"


def test_a_file_that_may_not_be_opened_is_an_error_and_stays(tmp_path, monkeypatch):
    save(tmp_path, some(1), keep=3, created=0.0)

    def refused(_file):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tensors, "read", refused)
    with pytest.raises(PermissionError):
        load_newest(tmp_path)
    assert visible(tmp_path) == [name(1)]


# --- versions ---


def test_a_downgrade_is_refused_and_names_the_streamd_that_made_the_file(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    forge(tmp_path / name(2), version=2, meta=["a", "new", "shape"], more=True)
    with pytest.raises(CheckpointError, match=r"streamd 9\.9 made it, in format 2") as caught:
        load_newest(tmp_path)
    assert str(tmp_path / name(2)) in str(caught.value)
    assert visible(tmp_path) == [name(1), name(2)]


def test_a_damaged_newer_version_is_quarantined_like_any_other(tmp_path):
    save(tmp_path, some(1), keep=3, created=0.0)
    path = tmp_path / name(2)
    forge(path, version=2)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert assert_falls_back(tmp_path, path) == "its digest is wrong"


# --- describe ---


def test_describe_tells_what_is_there_and_changes_nothing(tmp_path):
    save(tmp_path, Checkpoint(1, {"a": np.zeros(2)}, {"groups": {"x": 1, "y": 2}, "n": [1, 2], "on": True}), 5, 7.0)
    (tmp_path / name(2)).write_bytes(b"torn")
    forge(tmp_path / name(3), position=3, version=8)
    litter = tmp_path / f".{name(4)}.tmp"
    litter.write_bytes(b"half")
    before = visible(tmp_path)
    newer, torn, good = describe(tmp_path)
    assert visible(tmp_path) == before
    assert (good.position, good.ok, good.reason, good.created, good.arrays) == (1, True, "", 7.0, 1)
    assert (good.version, good.streamd, good.size) == (1, streamd.__version__, good.path.stat().st_size)
    assert good.meta == {"groups": "2 entries: x, y", "n": "2 items", "on": "true"}
    assert (torn.position, torn.ok, torn.size, torn.version) == (2, False, 4, None)
    assert (newer.ok, newer.version, newer.streamd) == (False, 8, "9.9")
    assert "streamd 9.9 made it" in newer.reason


def test_describe_keeps_long_values_short(tmp_path):
    save(tmp_path, Checkpoint(1, {}, {"text": "x" * 1000, "empty": {}}), keep=1, created=0.0)
    (found,) = describe(tmp_path)
    assert len(found.meta["text"]) == 80
    assert found.meta["empty"] == "no entries"


def test_describe_lists_the_quarantine_too(tmp_path):
    (tmp_path / name(2)).write_bytes(b"torn")
    load_newest(tmp_path)
    (found,) = describe(tmp_path)
    assert found.path == tmp_path / "quarantine" / name(2)
    assert not found.ok


def test_describe_passes_over_a_file_that_goes_away(tmp_path, monkeypatch):
    path = save(tmp_path, some(1), keep=1, created=0.0)
    files = module._files(tmp_path)
    monkeypatch.setattr(module, "_files", lambda _folder: files)
    path.unlink()
    assert describe(tmp_path) == []


def test_any_checkpoint_can_be_loaded_and_a_bad_one_stays_where_it_is(tmp_path, monkeypatch):
    for position in (1, 2):
        save(tmp_path, some(position), keep=9, created=5.0)
    with monkeypatch.context() as newer:
        newer.setattr(module, "VERSION", 8)
        newer.setattr(streamd, "__version__", "9.9")
        save(tmp_path, some(3), keep=9, created=5.0)
    newest, torn, good = describe(tmp_path)
    found = load(good)
    assert (found.position, found.meta) == (1, some(1).meta)
    assert {name: array.tobytes() for name, array in found.arrays.items()} == {
        name: array.tobytes() for name, array in some(1).arrays.items()
    }
    torn.path.write_bytes(torn.path.read_bytes()[:-1])
    before = visible(tmp_path)
    for bad, reason in ((torn, "does not lie|bytes of arrays"), (newest, "streamd 9.9 made it")):
        with pytest.raises(CheckpointError, match=reason):
            load(bad)
    assert visible(tmp_path) == before


def test_a_file_of_version_1_is_read_to_the_bit(tmp_path):
    (tmp_path / name(41)).write_bytes((formats.FOLDER / "checkpoint_1.safetensors").read_bytes())
    loaded = load_newest(tmp_path)
    assert loaded.quarantined == ()
    assert loaded.created == 1.7e9
    assert loaded.checkpoint is not None
    assert (loaded.checkpoint.position, loaded.checkpoint.meta) == (41, formats.CHECKPOINT.meta)
    found = {key: (array.dtype, array.shape, array.tobytes()) for key, array in loaded.checkpoint.arrays.items()}
    wanted = {key: (array.dtype, array.shape, array.tobytes()) for key, array in formats.CHECKPOINT.arrays.items()}
    assert found == wanted
