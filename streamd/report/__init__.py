"""One HTML page about a backtest, for readers who never saw the code: pure, from recorded arrays to text."""
