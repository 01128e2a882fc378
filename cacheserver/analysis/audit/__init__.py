"""`cacheserver audit`: estimate from a user's own logs what the server would have saved.

Promises: a log is read in bounded memory, and nothing in it ends the run. A line that cannot be
read is counted and shown by its place, never by its text.
Called by the command line.
"""
