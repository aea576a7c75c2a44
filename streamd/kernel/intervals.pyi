from streamd.records import F32, F64, I64

def due(slots: I64, n: I64, coverage: int, issued: F32, out: F64) -> None: ...
def learn(
    slots: I64,
    n: I64,
    steps: I64,
    errors: F64,
    usual: F64,
    trust: F64,
    factors: F64,
    memory: float,
    young: float,
    far: float,
    narrowest: float,
    widest: float,
    issued: F32,
    judged: F64,
    error_square: F64,
    multiplier: F64,
) -> None: ...
def bounds(slots: I64, normal: F64, spread: F64, multiplier: F64, out: F64) -> None: ...
def remember(slots: I64, n: I64, bounds: F64, issued: F32) -> None: ...
def pooled_spread(
    slots: I64,
    prior_frames: float,
    memory: float,
    reach: float,
    sure: float,
    judged: F64,
    error_square: F64,
    usual: F64,
    steps: F64,
    weight: F64,
    log_spread: F64,
    out: F64,
) -> None: ...
def pool(
    slots: I64,
    memory: float,
    most: float,
    judged: F64,
    error_square: F64,
    multiplier: F64,
    weight: F64,
    log_spread: F64,
    log_multiplier: F64,
) -> None: ...
