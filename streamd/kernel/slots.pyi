from streamd.records import F64, I64

class Timing:
    def advance(
        self,
        slots: I64,
        times: F64,
        rate: float,
        seq: I64,
        age: I64,
        number: I64,
        gap: F64,
        steps: F64,
        interval: F64,
    ) -> bool: ...
