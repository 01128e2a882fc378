"""Settings of a tenant beyond bars and lifetimes: frozen data, validated by type.

Rule: a rule holds values and their bounds, never behaviour; `policy` acts on them. Bounds are
`Annotated[int, Bound(...)]`, each with its reason beside the default.
"""
