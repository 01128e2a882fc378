"""What an operator sets for a tenant beyond bars and lifetimes: frozen data, checked by its types.

Rule: a rule holds values and their bounds, never behaviour; `policy` acts on them. Bounds are
`Annotated[int, Bound(...)]`, each with its reason beside the default.
"""
