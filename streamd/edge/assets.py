"""The files that the page is made of: a fixed table of names, so that no path from outside ever reaches the disk.

Plotly's JavaScript comes with its Python package; where that is not installed there are no charts. Knows files; not
what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

KINDS: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PLOTLY: Final = "plotly.min.js"
_FOLDER = Path(__file__).parent / "page"


def table() -> Mapping[str, Path]:
    """Every file by its name."""
    files = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.suffix in KINDS}
    spec = find_spec("plotly")  # finds it without importing it, which takes a while
    if spec is not None and spec.origin is not None:
        script = Path(spec.origin).parent / "package_data" / PLOTLY
        if script.is_file():
            files[PLOTLY] = script
    return files


def respond(path: Path) -> web.FileResponse:
    """A file as an answer; a browser asks each time whether it has changed, and mostly gets a short no."""
    headers = {hdrs.CONTENT_TYPE: f"{KINDS[path.suffix]}; charset=utf-8", hdrs.CACHE_CONTROL: "no-cache"}
    return web.FileResponse(path, headers=headers)
