"""Routes on admins themselves: their named keys, and the audit trail of what they have changed.

Promises: a key is shown once; the trail shows no text of a question and no secret.
Called by admins; `api.admin_access` checks the keys and writes the trail.
"""
