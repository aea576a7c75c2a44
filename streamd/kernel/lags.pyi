from streamd.records import F32, F64, I64

def observe(
    slots: I64,
    n: I64,
    rest: F64,
    weight: F64,
    usual: F64,
    edges: I64,
    means_frames: F64,
    large: float,
    limit: float,
    ring: F64,
    means: F64,
    features: F32,
    trust: F64,
    x: F64,
) -> None: ...
def trusted(slots: I64, n: I64, steps: I64, trust: F64, out: F64) -> None: ...
def filled(slots: I64, n: I64, rest: F64, ring: F64, out: F64) -> None: ...
