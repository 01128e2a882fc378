"""Stored answers over HTTP: listed, searched, read and changed by admins, read by their tenant.

Every route shows an entry the same way, and selects entries by the same fields, so what was listed
is what a purge with these fields takes. Texts of a tenant without content are withheld. Used by
`api.routes`.
"""
