"""Routes for the people who run the server: settings and prices, budgets of all, health.

Promises: a change is in force on every server when it is answered, and in the audit trail.
Called by admins.
"""
