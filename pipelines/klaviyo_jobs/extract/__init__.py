"""
The dlt source: listings, each read against what the warehouse knows.

In:     pages and details of `api`, and what the destination of the running pipeline knows of their jobs.
Out:    dlt resources of Arrow tables, each batch complete for the jobs in it.
Never:  a choice of engine; nothing is written except by handing it to dlt.
"""
