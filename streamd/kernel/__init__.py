"""The engine's inner loops, compiled: what a frame costs. One module per part; each knows numbers, not what they mean.

A kernel takes arrays as `Rows` keeps them and the numbers of slots, and works frame by frame, so that a result does
not depend on who else is in a batch. Types and dimensions are checked by it, lengths are not: it is called only by
the part whose arrays it works on, which also holds the constants and says what they are for.
"""
