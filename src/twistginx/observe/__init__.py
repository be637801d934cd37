"""
What happened: the access log, the error log, counters.
"""
