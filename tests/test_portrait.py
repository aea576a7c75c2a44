"""An incident in the terminal."""

from __future__ import annotations

import dataclasses
import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from streamd import portrait
from streamd.chart import SHADE
from streamd.explaining import ExplainError, explain, latest
from tests.incidents import TAUGHT, state_folder


def text(draw, *arguments, width=100):
    out = io.StringIO()
    draw(*arguments, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.fixture
def found(tmp_path):
    return explain(tmp_path, state_folder(tmp_path))


def test_the_list_has_a_line_for_each_incident_with_what_was_said_of_it(tmp_path):
    last = state_folder(tmp_path)
    told = text(portrait.incidents, latest(tmp_path, 20))
    assert last in told
    assert told.count("a false alarm") == TAUGHT
    assert "2023-11-1" in told


def test_it_says_what_spoke_who_is_to_blame_what_was_expected_and_what_was_like_it(found):
    told = text(portrait.explanation, found)
    assert found.incident.id in told
    assert "over its line from" in told
    blame = portrait.blamed(found.incident.channels)
    assert blame[0] == "b"
    row = portrait.at_the_peak(found)[0]
    assert row[0] == "b"
    assert all(cell in told for cell in row)
    assert 55.0 < float(row[2]) < 65.0
    assert "earlier incidents" in told
    assert SHADE in told
    assert "dots are what came" in told


@pytest.mark.parametrize("width", [30, 200])
def test_the_drawing_fits_the_terminal(found, width):
    told = text(portrait.explanation, found, width=width)
    drawn = [line for line in told.splitlines() if "│" in line and any(ord(sign) >= 0x2800 for sign in line)]
    assert drawn
    assert all(len(line) <= width for line in drawn)


def test_names_with_markup_in_them_are_shown_as_they_are(found):
    odd = dataclasses.replace(
        found,
        group="[red]g[/]",
        incident=msgspec.structs.replace(found.incident, channels={"[b]x[/b]": 1.0}),
        frames=dataclasses.replace(found.frames, channels=("[b]x[/b]", "y")),
    )
    told = text(portrait.explanation, odd)
    assert "[red]g[/]" in told
    assert "[b]x[/b]: dots" in told


def test_an_incident_without_frames_is_told_without_a_drawing(found):
    bare = dataclasses.replace(found, frames=None, like=(), calm=(), verdict="real")
    told = text(portrait.explanation, bare)
    assert "no frames of it were kept" in told
    assert "somebody said that it was real" in told
    with pytest.raises(ExplainError, match="nothing to draw"):
        portrait.picture(bare)


def test_a_picture_has_the_most_blamed_channels_first_and_every_score(found):
    picture = portrait.picture(found)
    assert picture.channels[0] == "b"
    np.testing.assert_array_equal(picture.values[:, 0], found.frames.values[:, 1])
    assert "score" in picture.scores
    assert picture.clock
    assert picture.start == found.incident.start
    assert picture.end == found.incident.end


def test_times_that_are_no_times_are_numbers():
    assert portrait.moment(12.5).startswith("1970") or portrait.moment(12.5) == "12.5 s"
    assert portrait.moment(-1e300) == "-1e+300 s"
    assert portrait.number(float("nan")) == "none"
