"""The address that is served, and limits on connections before a caller is authenticated.

Promises: bytes, fields, seconds and connections are all bounded. Whatever exceeds a bound is
refused with a status if one can still be sent, closed, and counted by its reason.
Used by `serving`, `workers` and `app`, which runs uvicorn with this protocol.
"""
