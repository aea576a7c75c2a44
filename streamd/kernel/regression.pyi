from streamd.records import F32, F64, I64

def due(n: I64, turn: I64, young_frames: int, young_every: int, every: int, out: I64) -> int: ...

class Ridge:
    def fold(
        self,
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
    ) -> None: ...
    def solve(self, slots: I64, usual: F64, ridge: float, floor: float, fewest: float, most_ratio: float) -> None: ...
    def foretell(self, slots: I64, features: F64, out: F64) -> None: ...

class Reach:
    def learn(self, slots: I64, errors: F64, lowest: F64, highest: F64, keep: float) -> None: ...
    def bound(self, slots: I64, usual: F64, most_changes: float, seasonal: F64, changes: F64) -> None: ...
