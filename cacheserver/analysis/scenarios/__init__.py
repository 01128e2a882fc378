"""Workloads as data, and what the real policies make of them in virtual time."""
