"""Runs streamd with a part that hangs for ever once the file `hang` is in the working folder.

    python tests/deploy/stuck.py PART run -c FILE

PART is `engine`, which holds up the event loop, or `training`, for whose candidate a worker waits while the loop turns.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamd import app
from streamd.__main__ import main
from streamd.engine.engine import Engine


def hanging(work: Callable[..., Any]) -> Callable[..., Any]:
    def hang(*arguments: Any) -> Any:
        if Path("hang").exists():
            print("hangs", file=sys.stderr, flush=True)
            threading.Event().wait()
        return work(*arguments)

    return hang


if __name__ == "__main__":
    if sys.argv.pop(1) == "engine":
        Engine.apply = hanging(Engine.apply)  # type: ignore[method-assign]
    else:
        app.train = hanging(app.train)
    main()
