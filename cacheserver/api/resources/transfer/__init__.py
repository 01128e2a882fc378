"""Imports and exports over HTTP: `/admin/v1/imports` and `/admin/v1/exports`.

Promises: nothing of a request or record is kept but entries and labels; a tenant without content
has no export. Used by `api.routes`.
"""
