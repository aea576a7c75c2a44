from streamd.records import F64, I64

class Incidents:
    def follow(self, slots: I64, times: F64, score: F64, calm: float, none: int, accepted: int, seq: I64) -> bool: ...
