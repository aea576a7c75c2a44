from streamd.records import F32, F64, I64

class Network:
    def __init__(self, layers: list[tuple[F32, F32, F32]], w_head: F32, b_head: F32, w_skip: F32) -> None: ...
    def step(self, x: F32, h: F32, c: F32, hidden: F32, cell: F32, out: F32) -> None: ...

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
def within(numbers: F32, most: float) -> bool: ...

class Hidden:
    def due(self, slots: I64, n: I64, turns: I64, every: int, generation: int, places: I64) -> int: ...
    def take(self, slots: I64, h: F32, c: F32) -> None: ...
    def put(self, slots: I64, h: F32, c: F32) -> None: ...
