from streamd.records import F64, I64

class Timing:
    def advance(self, slots: I64, times: F64, rate: float, steps: F64) -> None: ...
