"""Replay of logged or simulated traffic through the real policies in virtual time.

Promises: the pure rules that decide here are those of the server. Only the stores are in memory,
and each passes the contract test of the server's own store. Nothing is sent anywhere.
Called by `analysis.audit` and `analysis.scenarios`.
"""
