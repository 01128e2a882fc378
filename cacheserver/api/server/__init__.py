"""Limits on connections, before a caller is authenticated.

Rule: no byte, field, second or connection is unbounded. What goes beyond a bound is refused with a
status where one can still be sent, closed, and counted by its reason.
"""
