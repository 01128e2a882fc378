"""Running means of the errors expected among verified hits, by scope.

In memory: a new process starts with the credit of a new scope.
"""

from __future__ import annotations

from typing import TypeAlias

from cacheserver.core.types import Query
from cacheserver.matching.verification import ExpectedErrors
from cacheserver.verification.audit_state import AuditState

Scope: TypeAlias = tuple[str, int, str]

_MOST = 10_000  # scopes


def scope_of(query: Query, state: AuditState) -> Scope:
    """Return what the errors are of: with a reset, every server begins them anew."""
    return query.tenant.configured_name, state.resets, query.label_scope


class ErrorMeans:
    """The mean of each scope; the least recently changed is forgotten beyond some number."""

    def __init__(self) -> None:
        self._means: dict[Scope, ExpectedErrors] = {}

    def of(self, scope: Scope) -> ExpectedErrors:
        return self._means.get(scope, ExpectedErrors())

    def note(self, scope: Scope, errors: ExpectedErrors) -> None:
        self._means.pop(scope, None)
        self._means[scope] = errors
        if len(self._means) > _MOST:
            del self._means[next(iter(self._means))]
