from streamd.records import F32, F64, I64

def changes(slots: I64, n: I64, steps: I64, values: F64, base: F64, out: F64) -> None: ...
def record(
    slots: I64,
    n: I64,
    last: F64,
    inputs: F32,
    errors: F64,
    trusted: F64,
    base: F64,
    level: F32,
    change: F32,
    seen: F32,
    error: F32,
    ahead: F32,
    clock: F32,
    residual: F32,
    trust: F32,
) -> None: ...
def mark(slots: I64, n: I64, stride: int, h: F32, c: F32, start_h: F32, start_c: F32) -> None: ...
