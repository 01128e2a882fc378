"""Routes for the people who run the server: settings and prices, budgets of all, health.

Promises: what can be changed is in force on every server within seconds, and in the audit trail.
Called by admins.
"""
