"""Tenants, their settings and their API keys.

Promises: keys are stored hashed; an unknown key fails closed; settings are checked before they
are stored.
Called by `api` on every request, and by every capability for its tenant's rules.
"""
