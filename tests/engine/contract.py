"""What every stateful part must keep to: saved and loaded at any moment, an engine goes on as if nothing had been.

The parts are found by walking the engine's attributes, so that one that is added later is held to it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import torch

from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.rows import Rows
from streamd.engine.state import State
from streamd.records import Batch, Record
from tests.engine.runs import outcome_bits, state

# What is given to an engine, or is none of its state: a copy under way belongs to whoever asked for it.
NOT_STATE = (InlineTrainer, msgspec.Struct)
NOT_STATE_NAMES = {"_snapshot"}


def walk(thing: Any, name: str, rows: int | None = None) -> dict[str, Any]:
    """Every number, text and array that hangs on an object, by the path to it.

    Args:
        rows: how many rows of the arrays of a part are in use; what lies behind them is room, not state.
    """
    match thing:
        case None | bool() | int() | float() | str() | np.generic():
            return {name: repr(thing)}
        case np.ndarray():
            used = thing if rows is None else thing[:rows]
            return {name: (used.dtype.str, used.shape, used.tobytes())}
        case torch.Tensor():
            return walk(thing.numpy(), name)
        case np.random.Generator():
            return {name: repr(thing.bit_generator.state)}
        case Mapping():
            inside = {str(key): value for key, value in thing.items()}
        case list() | tuple():
            inside = {str(place): value for place, value in enumerate(thing)}
        case _ if isinstance(thing, NOT_STATE):
            return {}
        case _:
            fields = getattr(thing, "__slots__", None)
            inside = (
                {**defaults(type(thing)), **vars(thing)} if fields is None else {f: getattr(thing, f) for f in fields}
            )
    if isinstance(thing, State):
        used_rows = len(thing.slots)
    elif isinstance(thing, Rows):
        inside.pop("slots")
        check_shared(thing, inside.pop("loops"))
        used_rows = rows if rows is not None else thing.slots
    else:
        used_rows = None
    found = {}
    if isinstance(thing, Engine):  # its parts are those of its state, by the same names
        own = list(vars(thing.state).values())
        inside = {key: value for key, value in inside.items() if not any(value is part for part in own)}
        found = walk(inside.pop("state"), name)
    for key, value in inside.items():
        if key not in NOT_STATE_NAMES:
            # the replay memory has rows of its own
            count = value.slots if key == "memory" and isinstance(value, Rows) else used_rows
            found |= walk(value, f"{name}.{key}", count if isinstance(value, Rows | np.ndarray) else None)
    return found


def check_shared(part: Rows, loops: object) -> None:
    """What a part's kernel works on is the part's arrays, not others that were once."""
    for name in type(part).columns.keys() & set(dir(loops)):
        ours, theirs = getattr(part, name), np.asarray(getattr(loops, name))
        assert ours.shape == theirs.shape, name
        assert ours.ctypes.data == theirs.ctypes.data or not ours.size, name


def defaults(kind: type) -> dict[str, Any]:
    """What an object has from its class until it changes it."""
    return {
        name: value
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("__")
    }


def check(make: Callable[[], Engine], records: Iterable[Record], every: int) -> None:
    """Hold engines to the contract.

    Args:
        make: a fresh engine, each time the same.
        records: what moves them.
        every: an engine is saved and loaded before so many records.

    Raises:
        AssertionError: something is forgotten; the text names it.
    """
    kept, reloaded = make(), make()
    for number, record in enumerate(records):
        if number % every == 0:
            arrays, meta = state(reloaded)
            other = make()
            other.load_state_dict(arrays, json.loads(json.dumps(meta)))
            differ(walk(reloaded, "engine"), walk(other, "engine"), f"after loading, before record {number}")
            reloaded = other
        if isinstance(record, Batch):
            differ(outcome_bits(kept.apply(record)), outcome_bits(reloaded.apply(record)), f"outcome of {number}")
        else:
            kept.command(record)
            reloaded.command(record)
    differ(walk(kept, "engine"), walk(reloaded, "engine"), "at the end")


def differ(one: Mapping[str, Any], other: Mapping[str, Any], when: str) -> None:
    different = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    assert not different, f"{when}: {', '.join(different)}"
