from streamd.records import F32, F64, I64

def remember(
    slots: I64,
    n: I64,
    times: F64,
    score: F64,
    terms: F64,
    offset: F64,
    bounds: F64,
    time_ring: F64,
    score_ring: F32,
    terms_ring: F32,
    ahead_ring: F32,
) -> None: ...
