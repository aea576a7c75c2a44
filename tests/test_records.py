"""The records hold still, and the commands among them survive being written down."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from streamd.records import (
    Batch,
    Command,
    Freeze,
    Incident,
    Outcome,
    Reading,
    Report,
    Reset,
    Silent,
    Stretch,
    Thaw,
    Widen,
    named,
)

COMMANDS = [Widen(("flow", "pressure")), Reset("p1"), Reset(), Freeze(), Thaw(), Stretch(1.5), Silent(("p1", "p2"))]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command))
def test_a_command_written_as_json_comes_back_as_the_same_command(command: Command) -> None:
    again = msgspec.json.decode(msgspec.json.encode(command), type=Command)
    assert again == command
    assert type(again) is type(command)


def test_a_command_nobody_knows_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"type":"explode"}', type=Command)


def test_a_reset_of_all_and_of_one_stream_differ() -> None:
    assert Reset() == Reset(None) != Reset("p1")


def test_commands_tell_which_streams_they_find_only_in_memory() -> None:
    found = {type(command): named(command) for command in COMMANDS if command != Reset()}
    assert found.pop(Reset) == ("p1",)
    assert found.pop(Silent) == ("p1", "p2")
    assert set(found.values()) == {()} == {named(Reset())}


def test_a_batch_is_as_long_as_its_streams() -> None:
    assert len(Batch(("a", "b", "c"), np.zeros(3), np.zeros((3, 2)))) == 3
    assert len(Batch((), np.zeros(0), np.zeros((0, 2)))) == 0


@pytest.mark.parametrize("record", [Batch, Outcome, Report])
def test_what_travels_is_frozen_and_slotted(record: type) -> None:
    one = record(*range(len(dataclasses.fields(record))))
    for field in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field.name, None)
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize(
    "record", [*COMMANDS, Reading("p1", 1.0, {}), Incident("p1-7", "p1", "raised", 1.0, 2.0, None, 1.5, {"flow": 1.0})]
)
def test_a_command_a_reading_and_an_incident_are_frozen_too(record: msgspec.Struct) -> None:
    for name in record.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(record, name, None)


def test_an_outcome_without_news_has_no_incidents_and_no_reports() -> None:
    needed = [field for field in dataclasses.fields(Outcome) if field.default is dataclasses.MISSING]
    outcome = Outcome(*range(len(needed)))  # type: ignore[arg-type]
    assert outcome.incidents == ()
    assert outcome.reports == ()


def test_an_incident_of_one_stream_has_no_members_and_is_part_of_nothing() -> None:
    incident = Incident("p1-7", "p1", "raised", 1.0, 2.0, None, 1.5, {"flow": 1.0})
    assert incident.streams == ()
    assert incident.part_of is incident.reason is None
