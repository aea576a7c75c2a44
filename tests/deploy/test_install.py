"""`make install` as far as it goes without minutes: the files in their places, and which commands make the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from streamd.config import load

ROOT = Path(__file__).parent.parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None, "make is missing: apt install make"
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = [program, "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


def test_unit_and_config_go_where_systemd_looks_and_name_where_the_program_goes(tmp_path: Path) -> None:
    made = make("install-files", f"DESTDIR={tmp_path}", "PREFIX=/srv/streamd", "CONFDIR=/etc/plant")
    assert made.returncode == 0, made.stderr
    files = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(files) == {"etc/plant/streamd.toml", "etc/systemd/system/streamd.service"}
    unit = files["etc/systemd/system/streamd.service"].read_text()
    assert "ExecStart=/srv/streamd/bin/streamd run -c /etc/plant/streamd.toml" in unit
    assert "LoadCredential=mqtt-password:/etc/plant/mqtt-password" in unit
    assert "/opt/streamd" not in unit
    assert load(files["etc/plant/streamd.toml"]).state.folder == "/var/lib/streamd"


def test_the_unit_is_the_shipped_one_where_nothing_is_said(tmp_path: Path) -> None:
    assert make("install-files", f"DESTDIR={tmp_path}").returncode == 0
    installed = tmp_path / "etc" / "systemd" / "system" / "streamd.service"
    assert installed.read_text() == (ROOT / "deploy" / "streamd.service").read_text()


def test_a_config_that_is_there_is_kept(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "streamd" / "streamd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("# mine\n")
    assert make("install-files", f"DESTDIR={tmp_path}").returncode == 0
    assert config.read_text() == "# mine\n"


def test_the_program_gets_torch_from_the_index_that_is_given_and_the_rest_by_the_constraints(tmp_path: Path) -> None:
    told = make("-n", "install", f"DESTDIR={tmp_path}", "TORCH_INDEX=file:///wheels").stdout.splitlines()
    torch, rest = (line for line in told if "pip install" in line)
    assert "--index-url 'file:///wheels' -c constraints.txt torch" in torch
    assert rest.endswith("-c constraints.txt .")
    assert "--index-url" not in rest
    assert not list(tmp_path.iterdir()), "only asked"


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_folder_that_is_not_an_environment_is_left_alone(tmp_path: Path, target: str) -> None:
    precious = tmp_path / "opt" / "streamd" / "photos"
    precious.mkdir(parents=True)
    ended = make(target, f"DESTDIR={tmp_path}")
    assert ended.returncode != 0
    assert "/opt/streamd" in ended.stderr
    assert precious.is_dir()


def test_uninstall_takes_program_and_unit_and_leaves_config(tmp_path: Path) -> None:
    assert make("install-files", f"DESTDIR={tmp_path}").returncode == 0
    environment = tmp_path / "opt" / "streamd"
    environment.mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    assert make("uninstall", f"DESTDIR={tmp_path}").returncode == 0
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"etc/streamd/streamd.toml"}
