"""Replay of logged or simulated traffic through the real policies in virtual time.

Rule: what decides here is what decides in the server (the pure rules); only the stores are
in memory, and each has a contract test that the server's own store passes too. Nothing is sent
to anyone.
"""
