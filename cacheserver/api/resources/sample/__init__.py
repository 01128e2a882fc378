"""Routes of the sample traffic, for the admin.

Promises: no sample where Claude is real; a tenant that somebody uses is never mixed with it.
Called by the page of admins on a new install.
"""
