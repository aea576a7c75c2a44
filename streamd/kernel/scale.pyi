from streamd.records import F64, I64

class Scale:
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
        level: F64,
        spread: F64,
        latest: F64,
        usual: F64,
    ) -> None: ...
