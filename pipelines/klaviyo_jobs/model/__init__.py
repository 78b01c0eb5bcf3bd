"""
What the API says and what the tables hold, as types.

In:     JSON of the API, already fetched.
Out:    kinds, records, tables: values that everything above shares.
Never:  input or output of any kind; no network, no file, no clock, no database.
"""
