from streamd.records import F64, I64, Bool

class Scale:
    def enter(self, slots: I64, sent: F64, most: float, values: F64, before: F64) -> None: ...
    def known(self, slots: I64, sure: float, usual: F64, out: F64) -> None: ...
    def step_spread(self, slots: I64, tiny: float, out: F64) -> None: ...
    def learn(
        self,
        slots: I64,
        values: F64,
        changes: F64,
        weight: F64,
        haste: F64,
        memory_frames: float,
        more_haste: float,
        reach: float,
        top_keep: float,
        widest: float,
        tiny: float,
        afar: float,
        level: F64,
        spread: F64,
        latest: F64,
        lowest: F64,
        highest: F64,
        usual: F64,
    ) -> None: ...

def steady(values: F64, before: F64, usual: F64, most: float, out: Bool) -> None: ...
