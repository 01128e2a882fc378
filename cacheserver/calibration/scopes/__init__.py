"""Reports of scopes: traffic of the last day, the bar in force, what labels say of it.

They change nothing. Called by the admin routes; traffic comes from the index of decisions, and what
was learned from `calibration.states`.
"""
