"""Settings: environment, files, checks.

Promises: a wrong value is refused at the start, by its variable's name; secrets are never printed.
Read by `app`, `bootstrap` and commands; everything else gets its settings as arguments.
"""
