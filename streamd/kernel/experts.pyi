from streamd.records import F64

def rest(
    values: F64,
    last: F64,
    lowest: F64,
    highest: F64,
    season: F64,
    before: F64,
    tame: F64,
    rests: F64,
    here: F64,
    start: F64,
) -> None: ...
def mix(weights: F64, experts: F64, out: F64) -> None: ...
