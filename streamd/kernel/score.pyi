from streamd.records import F64, I64, Bool

def warming(slots: I64, seen: F64, warm_frames: float, progress: F64) -> None: ...
def vectors(slots: I64, values: F64, level: F64, errors: F64, horizons: I64, out: F64) -> None: ...
def compared(
    slots: I64,
    values: F64,
    before: F64,
    expected: F64,
    vectors: F64,
    mean: F64,
    sides: F64,
    others: F64,
) -> None: ...
def parts(
    slots: I64,
    novelty: F64,
    size: F64,
    blame: F64,
    silence: F64,
    line: F64,
    factor: F64,
    seen: F64,
    warm_frames: float,
    unsure: float,
    out: F64,
) -> None: ...
def judge(
    slots: I64,
    values: F64,
    silence: F64,
    outside: Bool | None,
    warming: Bool,
    vectors: F64,
    size: F64,
    line: F64,
    parts: F64,
    over: float,
    gate: float,
    gate_share: float,
    distrust: float,
    felt: F64,
    seen: F64,
    terms: F64,
    channel_score: F64,
    score: F64,
    trust: F64,
    strange: Bool,
    usual: F64,
    taught: F64,
) -> None: ...
def settle(
    slots: I64,
    times: F64,
    vectors: F64,
    strange: Bool,
    mean: F64,
    accept_s: float,
    since: F64,
    frames: F64,
    there: F64,
    spread: F64,
    accepted: Bool,
) -> int: ...
def onset(slots: I64, terms: F64, term: int, since: F64, out: F64) -> None: ...
