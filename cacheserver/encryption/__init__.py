"""Encryption at rest: data keys, master keys, sealed values and files.

Promises: AES-GCM authenticates each value together with its tenant, kind and name. A value that
cannot be decrypted is a counted miss, never another value.
Called by `bootstrap` and `backup`; everybody else knows the port in `storage.sealer`.
"""
