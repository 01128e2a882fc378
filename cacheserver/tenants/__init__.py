"""Tenants, their settings and their API keys; named admin keys, and the audit trail.

Promises: keys are stored hashed; an unknown key fails closed; settings are checked before they
are stored; the audit trail has no content and no secrets.
Called by `api` on every request, and by every capability for its tenant's rules.
"""
