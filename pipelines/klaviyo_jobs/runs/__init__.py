"""
One run from lock to unlock, what a run would do, and reading rejected records again.

In:     settings and the path of a warehouse.
Out:    `RunSummary`, or an error that says what state the data is in.
Never:  a line on the terminal, an exit; `cli` does both.
"""
