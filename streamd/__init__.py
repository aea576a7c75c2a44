"""streamd: learns from sensor streams while it serves them."""

__version__ = "0.1.0"
