from streamd.records import F64, I64, Bool

class Score:
    def warming(self, slots: I64, warm_frames: float, progress: F64) -> None: ...
    def parts(
        self,
        slots: I64,
        novelty: F64,
        size: F64,
        blame: F64,
        silence: F64,
        line: F64,
        factor: F64,
        warm_frames: float,
        unsure: float,
        out: F64,
    ) -> None: ...
    def judge(
        self,
        slots: I64,
        values: F64,
        silence: F64,
        outside: Bool | None,
        warming: Bool,
        vectors: F64,
        size: F64,
        line: F64,
        parts: F64,
        over: float,
        gate: float,
        gate_share: float,
        distrust: float,
        felt: F64,
        terms: F64,
        channel_score: F64,
        score: F64,
        trust: F64,
        strange: Bool,
        usual: F64,
        taught: F64,
    ) -> int: ...
    def settle(
        self, slots: I64, times: F64, vectors: F64, strange: Bool, mean: F64, accept_s: float, accepted: Bool
    ) -> int: ...
    def onset(self, slots: I64, terms: F64, term: int, out: F64) -> None: ...

def vectors(slots: I64, values: F64, level: F64, errors: F64, horizons: I64, out: F64) -> None: ...
def compared(
    slots: I64, values: F64, before: F64, expected: F64, vectors: F64, mean: F64, sides: F64, others: F64
) -> None: ...
