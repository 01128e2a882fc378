"""Encryption at rest: data keys, master keys, sealed values and files.

Promises: AES-GCM with the key's name as bound data; a value that cannot be opened is a counted
miss, never another value.
Called by each store module that holds callers' content.
"""
