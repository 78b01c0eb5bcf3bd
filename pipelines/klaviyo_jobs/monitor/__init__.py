"""
Read what is there and say so: thresholds, report, doctor, pings.

In:     the views of a warehouse or of its copy; for the doctor also the settings and the API.
Out:    findings, tables, messages to a monitor.
Never:  a write to the warehouse.
"""
