"""What `check` says of profiles is what a start would do with what is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from streamd.config import Config, Group, Source
from streamd.config import State as StateSettings
from streamd.engine import layout
from streamd.profiles import Kept, full_bytes, is_compact, told
from streamd.recovery import profiles
from tests.engine.runs import SETTINGS, Plant
from tests.state_folder import StateFolder

AUTO = msgspec.structs.replace(SETTINGS, horizon_steps=12)


def config(folder: Path, memory_mb: float, groups: Mapping[str, Group]) -> Config:
    return Config(
        source=tuple(Source(topic=f"{name}/{{stream}}", group=name) for name in groups),
        group=dict(groups),
        state=StateSettings(folder=str(folder), memory_mb=memory_mb),
    )


@pytest.fixture
def daemon(tmp_path: Path) -> StateFolder:
    """Six streams in the newest checkpoint."""
    daemon = StateFolder(tmp_path / "state", settings=AUTO)
    daemon.apply(Plant(1).batches(30))
    daemon.checkpoint()
    daemon.close()
    return daemon


@pytest.mark.parametrize(("share", "profile"), [(1.01, "full"), (0.99, "compact")])
def test_the_profile_that_is_told_is_the_one_that_a_start_picks(
    daemon: StateFolder, share: float, profile: str
) -> None:
    groups = {"pumps": AUTO}
    budget = share * daemon.engine.known * layout.row_bytes(AUTO, len(daemon.engine.channels))
    picked = profiles({"pumps": daemon.engine}, groups, budget)["pumps"].profile
    words = told(config(daemon.folder, budget / 1e6, groups))["pumps"]
    assert words.startswith(f"{profile} (auto: the 6 streams of the newest checkpoint would take ")
    assert (picked == "compact") == (profile == "compact")


def test_where_nothing_is_kept_auto_is_full_and_what_the_config_says_is_so(tmp_path: Path) -> None:
    groups = {"pumps": AUTO, "fans": msgspec.structs.replace(AUTO, profile="compact")}
    words = told(config(tmp_path / "none", 1.0, groups))
    assert words["pumps"] == f"full (auto: {tmp_path / 'none'} knows no stream yet)"
    assert words["fans"] == "compact (as the config says)"


def test_a_damaged_checkpoint_is_passed_over_and_left_where_it_is(daemon: StateFolder) -> None:
    (path,) = daemon.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert "knows no stream yet" in told(config(daemon.folder, 1.0, {"pumps": AUTO}))["pumps"]
    assert path.exists()


def test_back_to_full_it_goes_only_where_that_takes_less_than_half() -> None:
    assert is_compact(AUTO, was=True, full=60, budget=100.0)
    assert not is_compact(AUTO, was=False, full=60, budget=100.0)
    assert not is_compact(AUTO, was=True, full=40, budget=100.0)


def test_only_streams_that_may_be_in_memory_count() -> None:
    few = msgspec.structs.replace(AUTO, max_resident_streams=10)
    row = layout.row_bytes(few, 2)
    assert full_bytes({"pumps": Kept(1000, 2, compact=False)}, {"pumps": few, "fans": few}) == 10 * row
