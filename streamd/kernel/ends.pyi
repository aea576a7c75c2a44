from streamd.records import F64, I64

def learn(
    slots: I64, values: F64, before: F64, lowest: F64, highest: F64, low_visits: F64, high_visits: F64
) -> None: ...
def bound(
    slots: I64,
    last: F64,
    visits: float,
    lowest: F64,
    highest: F64,
    low_visits: F64,
    high_visits: F64,
    offsets: F64,
) -> None: ...
