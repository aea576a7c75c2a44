"""Bytes to records and back: topics and payload formats. Pure: no I/O, no clock, no threads."""
