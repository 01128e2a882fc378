"""Routes of tenants and their keys, for the admin."""
