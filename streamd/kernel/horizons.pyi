from streamd.records import F64, I64

def between(steps: I64, judged: F64, out: F64) -> None: ...
def mixed(
    steps: I64,
    experts: F64,
    weights: F64,
    seasonal: F64,
    offset: F64,
    all_experts: F64,
    all_weights: F64,
    out: F64,
) -> None: ...
