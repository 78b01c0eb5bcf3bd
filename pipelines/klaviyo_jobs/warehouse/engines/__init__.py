"""
The engines a warehouse may live in, one file each.

In:     a place, such as the path of a DuckDB file.
Out:    connections, transactions, and errors that say what to do.
Never:  a word of what the tables mean.
"""
