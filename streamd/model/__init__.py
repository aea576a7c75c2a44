"""The network and how it learns. torch lives here and nowhere else; every function is pure."""
