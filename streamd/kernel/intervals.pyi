from streamd.records import F64, I64

class Intervals:
    def due(self, slots: I64, n: I64, coverage: int, out: F64) -> None: ...
    def learn(
        self,
        slots: I64,
        n: I64,
        steps: I64,
        errors: F64,
        usual: F64,
        trust: F64,
        factors: F64,
        memory: float,
        young: float,
        far: float,
        narrowest: float,
        widest: float,
    ) -> None: ...
    def bounds(self, slots: I64, normal: F64, spread: F64, out: F64) -> None: ...
    def remember(self, slots: I64, n: I64, bounds: F64) -> None: ...

class Pool:
    def spread(
        self,
        slots: I64,
        prior_frames: float,
        memory: float,
        reach: float,
        sure: float,
        own: Intervals,
        usual: F64,
        steps: F64,
        out: F64,
    ) -> None: ...
    def learn(self, slots: I64, memory: float, most: float, own: Intervals) -> None: ...
