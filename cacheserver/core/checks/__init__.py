"""Checks on answers: what a tenant's rules or a request's own output format ask of them. Pure."""
