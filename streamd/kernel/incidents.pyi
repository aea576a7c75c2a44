from streamd.records import F64, I64, Bool

def follow(
    slots: I64,
    times: F64,
    score: F64,
    calm: float,
    none: int,
    accepted: int,
    restless_since: F64,
    how: I64,
    is_open: Bool,
) -> bool: ...
