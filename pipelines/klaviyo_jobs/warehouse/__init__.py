"""
What is kept: tables, views, the ledger, the lock, the published copy.

In:     a dlt source, a path, settings.
Out:    the tables of `klaviyo_raw`, the views of `klaviyo`, copies that readers may hold open.
Never:  a request to the API; only `engines/` knows one engine from another.
"""
