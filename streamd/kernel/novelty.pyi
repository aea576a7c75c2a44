from streamd.records import F64, I64

class Novelty:
    def observe(
        self,
        slots: I64,
        times: F64,
        values: F64,
        period: F64,
        line: float,
        smooth: float,
        profile_rate: float,
        bias_rate: float,
        range_keep: float,
        full: float,
        era_frames: float,
        refractory_frames: float,
        young_periods: float,
        calm_frames: float,
        day_s: float,
        furthest: float,
        out: F64,
    ) -> None: ...
