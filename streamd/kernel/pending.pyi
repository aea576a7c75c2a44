from streamd.records import F32, F64, I64

def errors(
    slots: I64,
    n: I64,
    ahead: I64,
    steps: F64,
    changes: F64,
    gap_steps: float,
    offsets: F32,
    unbroken: I64,
    out: F64,
) -> None: ...
def due(slots: I64, n: I64, offsets: F32, unbroken: I64, out: F64) -> None: ...
def remember(slots: I64, n: I64, experts: F64, mixed: F64, corrected: F64, published: F64, offsets: F32) -> None: ...
