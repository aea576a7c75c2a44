from streamd.records import F32, F64

def layer(
    below: F32,
    w_below: F32,
    w_before: F32,
    bias: F32,
    before: F32,
    cell_before: F32,
    hidden: F32,
    cell: F32,
) -> None: ...
def head(top: F32, weights: F32, bias: F32, x: F32, skip: F32, out: F32) -> None: ...
def observe(
    values: F64,
    before: F64,
    level: F64,
    spread: F64,
    usual: F64,
    errors: F64,
    mixed: F64,
    times: F64,
    steps: F64,
    limit: float,
    turns: F64,
    x: F32,
) -> None: ...
def sound(hidden: F32, cell: F32, most: float) -> bool: ...
