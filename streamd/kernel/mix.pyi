from streamd.records import F32, F64, I64

class Mix:
    def learn(
        self, slots: I64, errors: F64, mixed: F64, haste: F64, hastening: float, lasting: F64, fading: F64, most: float
    ) -> None: ...
    def weights(
        self, slots: I64, at_first: F32, young_frames: float, least: float, alike: float, agreed: float, out: F64
    ) -> None: ...

class Gate:
    def learn(
        self,
        slots: I64,
        corrections: F64,
        errors: F64,
        haste: F64,
        hastening: float,
        lasting: float,
        keeping: float,
        most: float,
        most_judged: float,
        least: float,
    ) -> None: ...
    def usual(self, slots: I64, least: float, out: F64) -> None: ...
    def share(self, slots: I64, steps: I64, doubt: float, overlap: float, out: F64) -> None: ...
    def size(self, slots: I64, errors: F64, unit: F64, sure: float, most: float, least: float, out: F64) -> None: ...
