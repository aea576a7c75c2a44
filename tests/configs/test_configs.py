"""The configs that are shipped, the schema of them all, and what is written of them."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from streamd.__main__ import app
from streamd.live import is_live

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "configs"
SCHEMA = ROOT / "streamd" / "config.schema.json"
SHIPPED = sorted(FOLDER.glob("*.toml"))
each_config = pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schema", FOLDER / "make_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def faults(text: str) -> list[str]:
    """Paths of what the schema finds wrong with a config."""
    judge = jsonschema.Draft7Validator(schema())
    return [".".join(map(str, error.absolute_path)) for error in judge.iter_errors(tomllib.loads(text))]


@each_config
def test_each_config_passes_check_which_shows_it_as_it_is_in_force(file: Path) -> None:
    told = CliRunner().invoke(app, ["check", str(file)])
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith(f"# {file}: good; reads ")
    assert f"# {file.name}:" in told.stdout
    assert tomllib.loads(told.stdout)["log"]["level"] == "info"


# --- the schema ---


def test_the_schema_is_what_code_and_example_make() -> None:
    assert schema() == script().schema(), "python configs/make_schema.py makes it anew"


def test_the_schema_is_one_of_its_draft() -> None:
    jsonschema.Draft7Validator.check_schema(schema())


@each_config
def test_the_schema_finds_each_config_good(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[mqtt]\nport = 0", "mqtt.port"),
        ("[mqtt]\nhots = 'x'", "mqtt"),
        ("[group.pumps.training]\nsteps = 0", "group.pumps.training.steps"),
        ("[group.pumps.channel.x]\ndirection = 'left'", "group.pumps.channel.x.direction"),
        ("[[source]]\ngroup = 'x'", "source.0"),
        ("[group.'a b']", "group"),
        ("[mqtt.tls]\nca = 'x'", "mqtt.tls"),
        ("[group.pumps]\ncoverage = 1.0", "group.pumps.coverage"),
    ],
)
def test_the_schema_finds_what_is_wrong_where_it_is(text: str, where: str) -> None:
    assert faults(text) == [where]


def test_each_key_of_the_schema_has_its_words_and_says_whether_it_needs_a_restart() -> None:
    made, keys = schema(), script().tables(script().inspect.type_info(script().Config))
    for name, definition in made["definitions"].items():
        for field, told in definition["properties"].items():
            if "$ref" in json.dumps(told):
                continue
            live, description = is_live((*keys[name], field)), told["description"]
            sentence = "Taken over while it runs." if live else "A change needs a restart."
            assert description.endswith(sentence), (name, field)
            assert len(description) > len(sentence) + 5, (name, field)


def test_the_schema_tells_the_unit_of_what_has_one() -> None:
    told = schema()["definitions"]
    for table, key, unit in (("Alarm", "accept_s", "seconds"), ("State", "commit_ms", "milliseconds")):
        assert f" In {unit}." in told[table]["properties"][key]["description"]
    assert " In " not in told["Training"]["properties"]["steps"]["description"]


def test_check_prints_the_schema() -> None:
    told = CliRunner().invoke(app, ["check", "--schema"])
    assert told.exit_code == 0
    assert json.loads(told.stdout) == schema()


# --- what is written of them ---


def readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def keys_of_config() -> dict[str, bool]:
    """Every key that is no table, NAME for any group, and whether it is taken over while it runs."""
    made, where = schema(), script().tables(script().inspect.type_info(script().Config))
    found = {}
    for name, definition in made["definitions"].items():
        for field, told in definition["properties"].items():
            if "$ref" not in json.dumps(told):
                key = (*where[name], field)
                found[".".join(key).replace("*", "NAME", 1)] = is_live(key)
    return found


def test_the_readme_names_each_config() -> None:
    named = re.findall(r"^\| `([\w./]+\.toml)` \|", readme(), re.MULTILINE)
    assert {(FOLDER / name).resolve() for name in named} == {
        *SHIPPED,
        ROOT / "deploy" / "streamd.toml",
        ROOT / "deploy" / "container" / "streamd.toml",
    }


def test_the_readme_names_each_key_by_its_purpose() -> None:
    table = readme().split("## The keys by purpose")[1].split("\n## ")[0]
    named = {word.split(".")[-1] for word in re.findall(r"`([\w.]+)`", table)}
    keys = {key.split(".")[-1] for key in keys_of_config() if not key.startswith("mqtt.tls")}
    assert keys - named == set()


def test_the_readme_tells_what_needs_a_restart_and_nothing_else() -> None:
    table = readme().split("These need a restart")[1]
    named = set(re.findall(r"`([\w.]+\.\w+)`", table))
    assert named == {key for key, live in keys_of_config().items() if not live}


@each_config
def test_each_config_names_the_schema_for_editors(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert (file.parent / first.removeprefix("#:schema ")).resolve() == SCHEMA
