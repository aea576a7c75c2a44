from streamd.records import F64, I64

class Lags:
    def observe(
        self,
        slots: I64,
        n: I64,
        rest: F64,
        weight: F64,
        usual: F64,
        edges: I64,
        means_frames: F64,
        large: float,
        limit: float,
        x: F64,
    ) -> None: ...
    def trusted(self, slots: I64, n: I64, steps: I64, out: F64) -> None: ...
    def filled(self, slots: I64, n: I64, rest: F64, out: F64) -> None: ...
