"""What `make bench` prints: the engine alone, the floor under any MQTT client, and the daemon end to end beside it.

python tests/benchmarks/run.py [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from tests.benchmarks import bare_paho, end_to_end, engine_speed

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    engine = {each: engine_speed.table(6, 12, 3.0, each) for each in engine_speed.PROFILES}
    if not as_json:
        for each, rows in engine.items():
            engine_speed.show(each, rows)
    floor = bare_paho.measure()
    if not as_json:
        bare_paho.show(floor)
    speeds = []
    for durability, stock in (("journal", False), ("checkpoint", False), ("journal", True)):
        speeds.append(end_to_end.measure(durability=durability, stock=stock))
        if not as_json:
            end_to_end.show(speeds[-1])
            print(
                f"  = {speeds[-1].cpu_us / floor.cpu_us:.1f} x the bare loop's CPU, "
                f"{speeds[-1].readings_per_s / floor.messages_per_s:.2f} x its rate"
            )
    if as_json:
        print(json.dumps({"engine": engine, "floor": asdict(floor), "end_to_end": [asdict(one) for one in speeds]}))
