"""
The command `klaviyo-jobs`: the one place that prints or exits.

In:     arguments and settings.
Out:    results on stdout; progress, log lines and errors on stderr; an exit code.
Never:  a rule that another program would need; nothing heavy is imported before a command runs.
"""
