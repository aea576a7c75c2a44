"""Everything at once on an embedded broker: a simulated plant, the daemon, and a board that shows what comes back."""
