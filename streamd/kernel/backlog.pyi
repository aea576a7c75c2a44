from streamd.records import F64, I64

class Backlog:
    def add(self, slots: I64, n: I64, errors: F64, trusted: F64, usual: F64, haste: F64, large: float) -> None: ...
