"""Whoever opens a module finds its test in the same place under tests/, and the other way round."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
WITHOUT_MODULE = {
    "tests/test_mirror.py",
    "tests/wire/test_hostile_input.py",
    "tests/engine/test_contract.py",
    "tests/engine/test_signals.py",
    "tests/engine/test_poison.py",
    "tests/engine/test_stuck.py",
}  # of the tree, of all decoders, of whole engines
# Folders that test the whole rather than one module; what lies there has names of its own.
OF_THE_WHOLE = ("scenarios", "broker", "crash", "simulation", "benchmarks", "deploy", "configs", "browser")


def mirror_of(module: Path) -> str:
    """Where the test of a module belongs: streamd/wire/topics.py -> tests/wire/test_topics.py."""
    return str(Path("tests", *module.parts[1:-1], f"test_{module.stem.strip('_')}.py"))


def unmatched(root: Path) -> tuple[list[str], list[str]]:
    """Tests that are missing for a module, and tests without a module."""
    modules = [file.relative_to(root) for file in root.glob("streamd/**/*.py*") if file.suffix in (".py", ".pyx")]
    modules = [module for module in modules if module.name != "__init__.py"]
    wanted = {mirror_of(module) for module in modules}
    tests = [file.relative_to(root) for file in root.glob("tests/**/test_*.py")]
    found = {str(test) for test in tests if test.parts[1] not in OF_THE_WHOLE} - WITHOUT_MODULE
    return sorted(wanted - found), sorted(found - wanted)


def test_every_module_has_its_test_and_every_test_its_module() -> None:
    missing, stray = unmatched(ROOT)
    assert not missing, "modules without test:\n" + "\n".join(missing)
    assert not stray, "tests without module:\n" + "\n".join(stray)


def test_a_module_without_test_and_a_test_without_module_are_both_seen(tmp_path: Path) -> None:
    for name in (
        "streamd/__init__.py",
        "streamd/__main__.py",
        "streamd/wire/topics.py",
        "streamd/wire/times.py",
        "tests/test_main.py",
        "tests/test_mirror.py",
        "tests/test_topics.py",
        "tests/wire/test_times.py",
        "tests/broker/test_run.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert unmatched(tmp_path) == (["tests/wire/test_topics.py"], ["tests/test_topics.py"])
