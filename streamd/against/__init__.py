"""Baselines that a backtest runs in the same pass, for comparison; never in the live path."""
