"""Settings of a tenant beyond bars and lifetimes: frozen data, validated by type.

Promises: a rule holds values and their bounds, never behaviour. Bounds are
`Annotated[int, Bound(...)]`, each with its reason beside the default.
Read by the capability that each rule is for; stored by `tenants`.
"""
