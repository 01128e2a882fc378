"""Stored entries and decisions: in Redis, with the vector index kept in agreement.

Redis is the truth: a vector without an entry is dropped when it is met.
"""
