"""Workloads as data, replayed through the real policies in virtual time."""
