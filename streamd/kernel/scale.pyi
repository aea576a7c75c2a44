from streamd.records import F64, I64

def step_spread(slots: I64, tiny: float, mean: F64, square: F64, steps: F64, step_square: F64, out: F64) -> None: ...
def learn(
    slots: I64,
    values: F64,
    changes: F64,
    weight: F64,
    haste: F64,
    memory_frames: float,
    more_haste: float,
    reach: float,
    top_keep: float,
    widest: float,
    tiny: float,
    seen: F64,
    mean: F64,
    square: F64,
    last: F64,
    steps: F64,
    step_square: F64,
    top: F64,
    level: F64,
    spread: F64,
    latest: F64,
    usual: F64,
) -> None: ...
