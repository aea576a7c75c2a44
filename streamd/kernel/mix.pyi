from streamd.records import F32, F64, I64

def learn(
    slots: I64,
    errors: F64,
    mixed: F64,
    haste: F64,
    lasting: F64,
    fading: F64,
    most: float,
    loss: F32,
    regret: F32,
    square: F32,
    largest: F32,
    judged: F32,
) -> None: ...
def weights(
    slots: I64,
    at_first: F32,
    young_frames: float,
    least: float,
    alike: float,
    agreed: float,
    loss: F32,
    regret: F32,
    square: F32,
    largest: F32,
    judged: F32,
    out: F64,
) -> None: ...
def judge_corrections(
    slots: I64,
    corrections: F64,
    errors: F64,
    haste: F64,
    lasting: float,
    keeping: float,
    most: float,
    most_judged: float,
    least: float,
    gain: F32,
    noise: F32,
    power: F32,
    square: F32,
    judged: F32,
) -> None: ...
def usual(slots: I64, least: float, square: F32, judged: F32, out: F64) -> None: ...
def share(
    slots: I64, steps: I64, doubt: float, overlap: float, gain: F32, noise: F32, power: F32, out: F64
) -> None: ...
def size(
    slots: I64,
    errors: F64,
    unit: F64,
    sure: float,
    most: float,
    least: float,
    square: F32,
    judged: F32,
    out: F64,
) -> None: ...
