from streamd.records import F64, I64, Bool

class Drift:
    def update(
        self, slots: I64, errors: F64, delta: float, clock: int, shortest: float, largest: float, out: Bool
    ) -> None: ...
    def haste(self, slots: I64, frames: float, out: F64) -> None: ...
