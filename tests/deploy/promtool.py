"""Prometheus's own judgement of files and expressions, and the samples that the daemon declares."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from streamd import metrics

LIMIT_S = 60.0
OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
OF_PROMETHEUS = {"up"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: apt install prometheus"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S)


def problems(expressions: Sequence[str], folder: Path) -> str:
    """What Prometheus has against them, as it reads them; empty if nothing."""
    # a recording rule is the one place where promtool of this version takes an expression; JSON is YAML
    rules = [{"record": f"one:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    path = folder / "expressions.yml"
    path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    judged = promtool("check", "rules", str(path))
    return "" if judged.returncode == 0 else judged.stdout + judged.stderr


def samples() -> dict[str, set[str]]:
    """Name of each sample that the daemon declares -> its labels."""
    found = {name: set[str]() for name in OF_THE_PROCESS | OF_PROMETHEUS}
    for metric in vars(metrics).values():
        if isinstance(metric, metrics.Durations):
            (family,) = metric.describe()
            found |= {f"{family.name}_bucket": {"le"}, f"{family.name}_sum": set(), f"{family.name}_count": set()}
        elif isinstance(metric, MetricWrapperBase):
            labels, name = set(metric._labelnames), metric._name
            if isinstance(metric, Histogram):
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[f"{name}_total" if isinstance(metric, Counter) else name] = labels
    return found


def unknown(expression: str) -> set[str]:
    """Samples, and labels of them, that an expression asks for and the daemon does not declare."""
    declared = samples()
    code = re.sub(r"#.*", "", expression)
    names = set(re.findall(r"\b(?:streamd|process|up)(?:_[a-z_]+)?\b(?!\")", re.sub(r'"[^"]*"', '""', code)))
    wrong = names - declared.keys()
    for name, selector in re.findall(r"\b((?:streamd|process)_[a-z_]+)\{([^}]*)\}", code):
        if name not in declared:
            continue
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"job", "instance"}
        wrong |= {f"{name}{{{label}}}" for label in asked - declared[name]}
    return wrong
