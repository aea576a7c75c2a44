from streamd.records import F64, I64, Bool

class Whitener:
    def measure(
        self,
        slots: I64,
        vectors: F64,
        matters: Bool | None,
        first_frames: float,
        large: float,
        most: float,
        size: F64,
        blame: F64,
    ) -> None: ...
    def learn(self, slots: I64, vectors: F64, outside: Bool, memory_frames: float) -> None: ...
    def solve(self, slots: I64, level: F64, shrink: float, finest: float, least: float) -> None: ...

def due(n: I64, turn: I64, early: int, early_every: int, every: int, rows: I64) -> int: ...
