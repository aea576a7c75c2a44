"""The threat model's lines: that each names tests which exist, and the one that no other folder would hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
THREATS = ROOT / "deploy" / "threats.md"
BECOMES_CODE = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "subprocess", "code", "runpy"}
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
RUNS_SHELL = {"system", "popen", "spawnl", "spawnv", "execv", "execve", "fork"}


def rows(text: str) -> list[list[str]]:
    """Cells of every line of the tables whose last column is the test."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        if head[-1] == "test":
            found += lines
    return found


def missing(text: str) -> list[str]:
    """Lines that name no test, and tests that are named and not there."""
    found = []
    for row in rows(text):
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[-1])
        if named is None:
            found.append(" | ".join(row))
        elif not (ROOT / named[1]).exists() or f"def {named[2]}(" not in (ROOT / named[1]).read_text():
            found.append(row[-1])
    return found


def dangerous(source: str) -> list[str]:
    """What in a module could make code, or a command, out of data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in BECOMES_CODE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in BECOMES_CODE:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in RUNS_CODE:
                found.append(called.id)
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                whole = f"{called.value.id}.{called.attr}"
                if called.attr in RUNS_SHELL and called.value.id == "os":
                    found.append(whole)
                if whole == "torch.load":
                    found.append(whole)
    return found


def test_each_line_of_the_threat_model_names_a_test_that_exists() -> None:
    text = THREATS.read_text()
    assert len(rows(text)) > 25
    assert missing(text) == []


def test_a_line_without_a_test_and_a_test_that_is_not_there_are_both_seen() -> None:
    text = "| it may | test |\n|---|---|\n| a | |\n| b | `tests/deploy/test_threats.py::test_of_nothing` |\n"
    assert missing(text) == ["a | ", "`tests/deploy/test_threats.py::test_of_nothing`"]


def test_nothing_that_is_read_can_become_code() -> None:
    for path in (ROOT / "streamd").rglob("*.py"):
        assert dangerous(path.read_text()) == [], path


def test_what_could_become_code_is_seen() -> None:
    source = "import pickle\nfrom marshal import loads\neval(x)\nos.system(y)\ntorch.load(z)\nre.compile(a)\n"
    assert dangerous(source) == ["pickle", "marshal", "eval", "os.system", "torch.load"]
