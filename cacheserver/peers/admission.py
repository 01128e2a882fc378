"""Admission of a request by what is remembered of keys and settings, and again after a lapse.

Rule: an answer that is stored is served to requests only that were admitted in the term of the
lease in which it was found. One from before a lapse is admitted again: its key may be revoked by
now, or the bar of its tenant raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

LAPSED: Final = -1  # no term has this number

Again: TypeAlias = Callable[[], Awaitable[bool]]  # whether it would be admitted now as it was


@dataclass(slots=True)
class Admission:
    """Term of the lease in which a request was admitted. `again` None: it is admitted once."""

    term: int
    again: Again | None = None


# Of the running request, and of the tasks that it begins. Work that no request began is admitted by
# nobody: None.
_admission: ContextVar[Admission | None] = ContextVar("admission", default=None)


def begin(term: int) -> Admission:
    """Note that the running request is admitted now."""
    admission = Admission(term)
    _admission.set(admission)
    return admission


async def stands(term: int) -> bool:
    """Return whether the running request is admitted in this term, or again. Raises nothing."""
    admission = _admission.get()
    if admission is None or admission.term == term:
        return True
    if admission.again is None or not await admission.again():
        return False
    admission.term = term
    return True
