from streamd.records import F64, I64, Bool

def periods(interval: F64, most: float, period: F64) -> None: ...

class Common:
    def learn(self, learnt: F64, memory_blocks: float) -> None: ...
    def follow(self, log: F64, memory: float) -> None: ...

class Tails:
    def lines(
        self,
        slots: I64,
        reach: F64,
        period: F64,
        natural: float,
        share: float,
        block: float,
        bound_blocks: float,
        fade: float,
        margin: float,
        most: float,
        prior_weight: float,
        prior: float,
        lowest: float,
        highest: float,
        common: Common,
        line: F64,
    ) -> None: ...
    def push(self, slots: I64, n: I64, block: int, size: F64) -> int: ...
    def close(
        self,
        slots: I64,
        n: I64,
        block: int,
        line: F64,
        warming: Bool,
        sign: float,
        settled: float,
        calm_blocks: float,
        longest_blocks: float,
        clip: float,
        begin_blocks: float,
        memory_blocks: float,
        fade: float,
        lowest: float,
        highest: float,
        learnt: F64,
    ) -> None: ...

class Strictness:
    def learn(
        self,
        slots: I64,
        terms: F64,
        raised: Bool,
        counts: Bool,
        period: F64,
        sign: float,
        calm_frames: float,
        longest_frames: float,
        by: float,
        lean: float,
        lowest: float,
        highest: float,
    ) -> None: ...
