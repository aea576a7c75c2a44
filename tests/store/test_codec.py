import contextlib
import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Alarm, Channel, Group
from streamd.records import Batch, Configure, Freeze, Marks, Reset, Silent, Stretch, Teach, Thaw, Widen, Withdraw
from streamd.store.codec import CodecError, decode, encode

RECORDS = Batch, Configure, Freeze, Marks, Reset, Silent, Stretch, Teach, Thaw, Widen, Withdraw

BITS = st.integers(0, 2**64 - 1)  # every float64 there is, NaNs with payloads among them
COMMANDS = st.one_of(
    st.builds(Widen, st.lists(st.text()).map(tuple)),
    st.builds(Reset, st.none() | st.text()),
    st.just(Freeze()),
    st.just(Thaw()),
    st.builds(Stretch, st.floats()),
    st.builds(Silent, st.lists(st.text()).map(tuple)),
    st.builds(Teach, st.text(), st.sampled_from(["false", "real"])),
    st.builds(Withdraw, st.text()),
    st.builds(
        Configure,
        st.builds(
            Group,
            max_future_s=st.floats(min_value=5e-324, max_value=1e9),
            coverage=st.sampled_from([0.9, (0.9, 0.5)]),
            alarm=st.builds(Alarm, per_week=st.floats(min_value=5e-324, max_value=1e9)),
            channel=st.dictionaries(st.text(), st.builds(Channel, low=st.none() | st.floats(-1e100, 1e100))),
        ).map(msgspec.to_builtins),
    ),
)


@st.composite
def batches(draw):
    rows, columns = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    bits = draw(st.lists(BITS, min_size=rows * (1 + columns), max_size=rows * (1 + columns)))
    numbers = np.array(bits, np.uint64).view(np.float64)
    streams = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=rows, max_size=rows))
    return Batch(tuple(streams), numbers[:rows], numbers[rows:].reshape(rows, columns))


def some() -> Batch:
    return Batch(("a", "ü"), np.array([1.5, 2.5]), np.array([[1.0, math.nan, 3.0], [4.0, 5.0, 6.0]]))


def assert_same(found: object, batch: Batch) -> None:
    assert isinstance(found, Batch)
    assert found.streams == batch.streams
    assert found.times.dtype == found.values.dtype == np.float64
    assert found.values.shape == batch.values.shape
    assert found.times.tobytes() == batch.times.tobytes()
    assert found.values.tobytes() == batch.values.tobytes()


@given(batches())
def test_a_batch_comes_back_to_the_last_bit(batch):
    assert_same(decode(encode(batch)), batch)


@given(COMMANDS)
def test_a_command_comes_back(command):
    found = decode(encode(command))
    assert type(found) is type(command)
    if isinstance(command, Stretch):  # NaN is not itself
        assert struct.pack("<d", found.factor) == struct.pack("<d", command.factor)
    elif isinstance(command, Configure):  # a list is as good as a tuple
        assert msgspec.convert(found.settings, Group) == msgspec.convert(command.settings, Group)
    else:
        assert found == command


def test_the_arrays_that_come_back_may_be_written():
    batch = decode(encode(some()))
    assert isinstance(batch, Batch)
    batch.values[0, 0] = 7.0
    batch.times[0] = 7.0


def test_arrays_in_any_layout_are_encoded_by_their_values():
    batch = some()
    other = Batch(batch.streams, batch.times[::-1][::-1], np.asfortranarray(batch.values.astype(">f8")))
    assert encode(other) == encode(batch)


def test_a_row_costs_its_numbers_and_its_name():
    rows, columns = 100, 8
    batch = Batch(tuple(f"pump-{row:04d}" for row in range(rows)), np.zeros(rows), np.zeros((rows, columns)))
    assert len(encode(batch)) <= rows * (8 * (1 + columns) + 10) + 16


@pytest.mark.parametrize(
    ("times", "values"), [((2,), (3, 1)), ((3,), (2, 1)), ((2, 1), (2, 1)), ((2,), (2,)), ((2,), (2, 1, 1))]
)
def test_a_batch_whose_axes_do_not_fit_is_refused(times, values):
    with pytest.raises(ValueError, match="are no batch"):
        encode(Batch(("a", "b"), np.zeros(times), np.zeros(values)))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(CodecError):
        decode(b"\x01\x02" + data)
    with pytest.raises(CodecError):
        decode(b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff" + data)


@given(batches() | COMMANDS, st.data())
def test_a_torn_record_is_refused(record, data):
    encoded = encode(record)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CodecError):
        decode(encoded[:length])


@given(batches() | COMMANDS, st.binary(min_size=1, max_size=9))
def test_a_record_with_more_behind_it_is_refused(record, more):
    with pytest.raises(CodecError):
        decode(encode(record) + more)


@given(batches() | COMMANDS, st.data())
def test_damage_gives_a_record_or_a_codec_error_and_nothing_else(record, data):
    encoded = bytearray(encode(record))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CodecError):
        assert isinstance(decode(bytes(encoded)), RECORDS)


def test_names_of_another_number_than_the_rows_are_refused():
    encoded = bytearray(encode(Batch(("a", "b"), np.zeros(2), np.zeros((2, 0)))))
    assert encoded[-5:] == b"\x92\xa1a\xa1b"
    with pytest.raises(CodecError, match="2 rows with 1 names"):
        decode(bytes(encoded[:-5]) + b"\x91\xa1a")


def test_a_record_from_a_newer_streamd_is_refused_by_its_number():
    with pytest.raises(CodecError, match="format 2; this streamd reads 1"):
        decode(b"\x02" + encode(some())[1:])


def test_the_format_is_this_one():
    """Whoever breaks this changes what stands in journals out there: count the version up, and read both."""
    assert encode(some()).hex() == (
        "0100" "02000000" "03000000" "000000000000f83f" "0000000000000440"
        "000000000000f03f" "000000000000f87f" "0000000000000840"
        "0000000000001040" "0000000000001440" "0000000000001840"
        "92a161a2c3bc"
    )  # fmt: skip
    assert encode(Stretch(2.0)) == b"\x01\x01\x82\xa4type\xa7stretch\xa6factor\xcb@\x00\x00\x00\x00\x00\x00\x00"
