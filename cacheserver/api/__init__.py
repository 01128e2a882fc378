"""HTTP: authentication, bodies, errors, OpenAPI, and one file of routes for each resource.

Promises: thin. A route reads its input, calls a capability and shows the result; every error has
one shape that names the field. Nothing here decides on hits, money or models.
Built by `app`; imported by no capability.
"""
