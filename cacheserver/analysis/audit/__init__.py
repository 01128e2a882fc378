"""`cacheserver audit`: estimate from a user's own logs what the server would have saved.

Rule: a log is somebody else's text. A line that cannot be read is counted and shown by its place,
never by its words; nothing in it ends the run.
"""
