"""Types, errors and small functions that every package uses.

Promises: imports no other package, holds no state, and does no I/O but for reading the package's
own data files. What only one package uses does not belong here.
Used by every package.
"""
