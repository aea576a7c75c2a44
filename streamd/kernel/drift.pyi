from streamd.records import F32, F64, I64, Bool

def update(
    slots: I64,
    errors: F64,
    delta: float,
    clock: int,
    shortest: float,
    largest: float,
    length: I64,
    since: I64,
    means: F32,
    squares: F32,
    out: Bool,
) -> None: ...
def haste(slots: I64, frames: float, since: I64, out: F64) -> None: ...
