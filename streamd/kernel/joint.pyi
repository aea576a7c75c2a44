from streamd.records import F64, I64, Bool

def measure(
    slots: I64,
    vectors: F64,
    matters: Bool | None,
    frames: F64,
    mean: F64,
    inverse: F64,
    first_frames: float,
    large: float,
    most: float,
    size: F64,
    blame: F64,
) -> None: ...
def learn(
    slots: I64, vectors: F64, outside: Bool, memory_frames: float, frames: F64, mean: F64, covariance: F64
) -> None: ...
def solve(
    slots: I64, level: F64, covariance: F64, shrink: float, finest: float, least: float, inverse: F64
) -> None: ...
def due(n: I64, turn: I64, early: int, early_every: int, every: int, rows: I64) -> int: ...
