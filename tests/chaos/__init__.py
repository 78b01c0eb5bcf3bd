"""
A chaos harness: real runs killed at any instant, compared with a warehouse that nobody disturbed; see `__main__.py`.

In:     the command `klaviyo-jobs run`, forked, and a sandbox whose jobs move on meanwhile.
Out:    the number of kills, and every difference with all there is to look at.
Never:  a hook in what it kills.
"""
