"""Encryption at rest: data keys, master keys, sealed values and files.

Promises: AES-GCM authenticates each value together with its tenant, kind and name. A value that
cannot be decrypted is a counted miss, never another value.
Called by each store module that holds callers' content.
"""
