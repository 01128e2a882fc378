"""Diagnosis of an installation: what a server needs, checked in the order in which it needs it.

Promises: every check ends, in an answer or in a fault with what to do; nothing is changed, and no
call that costs money is made.
Used by `cacheserver doctor`.
"""
