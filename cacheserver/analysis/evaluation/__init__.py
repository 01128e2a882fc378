"""Labelled pairs through the serving decision: what a server would serve, and how much of it wrong.

Promises: the decision is the server's, in a scope that has learned nothing; no server and no call
to Claude is needed; the same pairs give the same figures.
Used by `cacheserver evaluate`.
"""
