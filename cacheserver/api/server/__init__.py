"""Connections, bounded: what a caller may hold of the process before anybody knows who it is.

Rule: no byte, field, second or connection is unbounded. What goes beyond a bound is refused with a
status where one can still be sent, closed, and counted by its reason.
"""
