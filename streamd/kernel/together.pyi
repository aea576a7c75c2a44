from streamd.records import F64

def hear(
    times: F64,
    interval: F64,
    clock: float,
    step: float,
    active: float,
    known: float,
    memory_frames: float,
    active_steps: float,
) -> tuple[float, float, float]: ...
