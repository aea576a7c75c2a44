"""The deterministic state machine: frames in, outcomes out. numpy, no I/O, no clock, no threads."""
