from streamd.records import F64, I64

class Past:
    def remember(self, slots: I64, n: I64, times: F64, score: F64, terms: F64, offset: F64, bounds: F64) -> None: ...
