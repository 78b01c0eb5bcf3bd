"""
GETs of one account.

In:     a key, a path or a link of the configured origin.
Out:    decoded answers and the pages of a listing, within the rate limits.
Never:  a second origin, another method than GET, a word about tables or the warehouse.
"""
