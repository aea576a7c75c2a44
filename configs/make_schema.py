"""Makes `streamd/config.schema.json`: types and limits from streamd/config.py, words from configs/example.toml.

Run it after a change to either: `python configs/make_schema.py`. A test holds the file to what this makes. Editors
read it: see configs/README.md. Draft 7, which those for TOML understand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from streamd.config import Config
from streamd.effective import places
from streamd.live import is_live

HERE = Path(__file__).parent
EXAMPLE = HERE / "example.toml"
UNITS = {"s": "seconds", "ms": "milliseconds", "bytes": "bytes", "frames": "frames", "steps": "steps of the stream"}
SCHEMA = HERE.parent / "streamd" / "config.schema.json"


def words(example: str) -> dict[tuple[str, ...], str]:
    """What the example's comments say of each key and table, by its key; * for any name."""
    everything = re.sub(r"(?m)^# (?=\w+ = |\[)", "", example)
    lines = everything.splitlines()
    found = {}
    for key, line in places(everything).items():
        comment = re.search(r"  # (.*)$", lines[line - 1])
        if comment is not None:
            names = tuple(str(part) for part in key if not isinstance(part, int))
            found[(names[0], "*", *names[2:]) if names[0] == "group" and len(names) > 1 else names] = comment[1]
    return {(*key[:3], "*", *key[4:]) if key[2:3] == ("channel",) else key: text for key, text in found.items()}


def tables(kind: inspect.Type, key: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """The key of every table by the name of its type."""
    found: dict[str, tuple[str, ...]] = {}
    if isinstance(kind, inspect.UnionType):
        for member in kind.types:
            found |= tables(member, key)
    elif isinstance(kind, inspect.DictType):
        found = tables(kind.value_type, (*key, "*"))
    elif isinstance(kind, inspect.VarTupleType):
        found = tables(kind.item_type, key)
    elif isinstance(kind, inspect.StructType):
        found[kind.cls.__name__] = key
        for field in kind.fields:
            found |= tables(field.type, (*key, field.encode_name))
    return found


def schema() -> dict[str, Any]:
    """The schema of a config file."""
    made = msgspec.json.schema(Config)
    said, keys = words(EXAMPLE.read_text(encoding="utf-8")), tables(inspect.type_info(Config))
    definitions = {}
    for name, definition in made["$defs"].items():
        definition["properties"] = {
            field: _property(inner, (*keys[name], field), said) for field, inner in definition["properties"].items()
        }
        definitions[name] = definition
    root = definitions.pop("Config")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **root,
        "title": "The config of streamd",
        "definitions": definitions,
    }


def _property(inner: dict[str, Any], key: tuple[str, ...], said: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """A key with its words; TOML has no null, and the default of a table says nothing that its keys don't."""
    inner = json.loads(json.dumps(inner).replace("#/$defs/", "#/definitions/"))
    is_table = "$ref" in json.dumps(inner)
    if "anyOf" in inner:
        inner["anyOf"] = [one for one in inner["anyOf"] if one != {"type": "null"}]
        if len(inner["anyOf"]) == 1:
            inner |= inner.pop("anyOf")[0]
    if inner.get("default", 0) is None or is_table:
        inner.pop("default", None)
    if "$ref" in inner:  # in draft 7 nothing beside it counts
        inner["allOf"] = [{"$ref": inner.pop("$ref")}]
    text = said.get(key, said.get((*key, "*"), ""))
    reload = "" if is_table else "Taken over while it runs." if is_live(key) else "A change needs a restart."
    sentence = f"{text[:1].upper()}{text[1:]}." if text else ""
    unit = UNITS.get(key[-1].rpartition("_")[2]) if "_" in key[-1] else None
    description = " ".join(filter(None, (sentence, f"In {unit}." if unit else "", reload)))
    return {"description": description, **inner} if description else inner


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
