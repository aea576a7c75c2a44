from streamd.records import F32, F64, I64

def add(
    slots: I64,
    n: I64,
    errors: F64,
    trusted: F64,
    usual: F64,
    haste: F64,
    large: float,
    targets: F32,
    weights: F32,
    hastes: F32,
    count: I64,
) -> None: ...
