import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from streamd.store import tensors

DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64]
ARRAYS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


def write(path: Path, arrays, metadata=None) -> None:
    with path.open("wb") as file:
        tensors.write(file, {name: tensors.plain(array) for name, array in arrays.items()}, metadata or {})


def read(path: Path):
    with path.open("rb") as file:
        metadata, arrays = tensors.read(file)
        return metadata, dict(arrays)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tensors") / "file.safetensors"


@given(arrays=ARRAYS, metadata=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text('aé\n\\"')))
def test_what_is_written_is_read_again_bit_for_bit(path, arrays, metadata):
    write(path, arrays, metadata)
    texts, found = read(path)
    assert texts == metadata
    assert same(found, arrays)


@given(arrays=ARRAYS)
def test_the_library_reads_what_we_write(path, arrays):
    write(path, arrays, {"key": "text"})
    assert same(load_file(path), arrays)


@given(arrays=ARRAYS)
def test_we_read_what_the_library_writes(path, arrays):
    save_file(arrays, path, {"key": "text"})
    texts, found = read(path)
    assert texts == {"key": "text"}
    assert same(found, arrays)


def test_arrays_of_any_layout_and_byte_order_are_written_by_value(path):
    square = np.arange(12, dtype=np.float64).reshape(3, 4)
    odd = {"turned": square.T, "striped": square[:, ::2], "big": square.astype(">f8"), "reversed": square[::-1]}
    write(path, odd)
    _, found = read(path)
    for name, array in odd.items():
        np.testing.assert_array_equal(found[name], array)


def test_read_arrays_can_be_written_to(path):
    write(path, {"a": np.zeros(3)})
    _, found = read(path)
    found["a"][0] = 1.0
    assert found["a"].tolist() == [1.0, 0.0, 0.0]


def test_a_plain_array_is_not_copied():
    array = np.zeros((2, 3))
    assert tensors.plain(array) is array
    assert np.shares_memory(np.frombuffer(tensors.raw(array)), array)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, object, "U3", "M8[s]"])
def test_other_kinds_of_array_are_refused(dtype):
    with pytest.raises(ValueError, match="can't be kept"):
        tensors.plain(np.zeros(2, dtype=dtype))


def test_the_reserved_name_is_refused():
    with pytest.raises(ValueError, match="__metadata__"):
        tensors.write(io.BytesIO(), {"__metadata__": np.zeros(1)}, {})


def test_a_header_past_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(tensors, "HEADER_LIMIT", 64)
    with pytest.raises(ValueError, match="more than 64"):
        tensors.write(io.BytesIO(), {}, {"text": "x" * 64})


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(dtype="BF16", shape=(4,))},
        {"a": entry(shape=(3,))},
        {"a": entry(shape=(-2,))},
        {"a": entry(offsets=(0, 4))},
        {"a": entry(offsets=(8, 0))},
        {"a": entry(offsets=(-8, 0))},
        {"a": entry(offsets=(4, 12))},
        {"a": entry(), "b": entry()},
        {"a": entry(), "b": entry(shape=(0, 2**62, 2**62), offsets=(8, 8))},
        {"a": entry(shape=(2**70,), offsets=(0, 2**72))},
        {"a": entry(), "__metadata__": {"key": 1}},
        {"a": {**entry(), "more": 1}},
        {"a": 7},
        [],
        {},
    ],
)
def test_a_header_that_does_not_fit_its_bytes_is_refused(path, header):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(tensors.TensorError):
        read(path)


@pytest.mark.parametrize(
    "data", [b"", b"1234567", struct.pack("<Q", 2**63), struct.pack("<Q", 9) + b"{}", struct.pack("<Q", 2) + b"\xff{"]
)
def test_bytes_that_are_no_such_file_are_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(tensors.TensorError):
        read(path)


def test_deep_nesting_in_the_header_is_refused(path):
    text = b'{"a":' * 100_000
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(tensors.TensorError):
        read(path)


def test_a_truth_value_other_than_0_and_1_is_refused(path):
    write(path, {"a": np.array([True, False])})
    path.write_bytes(path.read_bytes()[:-1] + b"\x02")
    with pytest.raises(tensors.TensorError, match="truth"):
        read(path)
