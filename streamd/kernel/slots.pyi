from streamd.records import F64, I64

def advance(
    slots: I64,
    times: F64,
    rate: float,
    seq: I64,
    age: I64,
    last_time: F64,
    interval: F64,
    steps: F64,
) -> None: ...
