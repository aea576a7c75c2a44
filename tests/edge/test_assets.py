import importlib.util
import re

import pytest

from streamd.edge import assets
from streamd.edge.assets import KINDS, PLOTLY, table

INLINE = re.compile(r"<script(?![^>]*\bsrc=)|\son\w+=|innerHTML|insertAdjacentHTML|document\.write|eval\(")
SITE = re.compile(r"https?:|//[a-z]")


def test_the_table_has_the_page_and_plotly_and_nothing_else():
    files = table()
    assert {"index.html", "page.css", "main.js", "icon.svg", PLOTLY} <= {*files}
    assert all(path.suffix in KINDS and path.name == name for name, path in files.items())
    assert all(path.parent == assets._FOLDER for name, path in files.items() if name != PLOTLY)


def test_without_plotly_the_page_is_there_without_charts(monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(assets, "find_spec", lambda name: None if name == "plotly" else real(name))
    files = table()
    assert PLOTLY not in files
    assert "index.html" in files


def test_everything_that_the_page_names_is_in_the_table():
    files = table()
    for name, path in files.items():
        if name == PLOTLY:
            continue
        text = path.read_text()
        wanted = re.findall(r"""(?:/page/|from "\./|import\("\./)([\w.]+)""", text)
        assert {*wanted} <= {*files}, name


def test_the_page_has_no_inline_script_and_loads_nothing_from_elsewhere():
    for name, path in table().items():
        if name == PLOTLY:
            continue
        text = path.read_text()
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|\son\w+=|innerHTML|insertAdjacentHTML|document\.write|eval\(", text
        ), name
        assert not SITE.search(re.sub(r"^\s*//.*$|http://www.w3.org/2000/svg", "", text, flags=re.M)), name


def test_a_file_is_asked_for_anew_each_time_and_has_its_type():
    response = assets.respond(table()["main.js"])
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
