"""Routes for tuning bars: decisions, and the misses that came near.

For admins, of all tenants; a tenant's own key lists its own decisions and changes nothing. Content
of a tenant that keeps none is absent. Called by `api.routes`.
"""
