from streamd.records import F32, F64, I64

def due(n: I64, turn: I64, young_frames: int, young_every: int, every: int, out: I64) -> int: ...
def fold(
    slots: I64,
    n: I64,
    steps: I64,
    count: I64,
    targets: F32,
    weights: F32,
    haste: F32,
    features: F32,
    keep: float,
    hastening: float,
    inputs: F64,
    products: F64,
    input_weight: F64,
    product_weight: F64,
) -> None: ...
def solve(
    slots: I64,
    usual: F64,
    ridge: float,
    floor: float,
    fewest: float,
    most_ratio: float,
    inputs: F64,
    products: F64,
    input_weight: F64,
    product_weight: F64,
    slopes: F32,
) -> None: ...
def foretell(slots: I64, features: F64, slopes: F32, out: F64) -> None: ...
def reach(slots: I64, errors: F64, lowest: F64, highest: F64, keep: float, rise: F64, fall: F64) -> None: ...
def bounded(slots: I64, usual: F64, most_changes: float, seasonal: F64, rise: F64, fall: F64, changes: F64) -> None: ...
