"""Stand-ins for the entries of answers to come, to ask if they would serve a question. Pure."""

from __future__ import annotations

from cacheserver.core.types import Bar, Entry, Query, Usage

_CLOSE = 0.9  # cosine; no target is reached below it


def close_enough(bar: Bar) -> float:
    """Return the cosine below which no answer would serve, so that nothing is to be decided."""
    return _CLOSE if bar.similarity is None else bar.similarity


def stand_in(query: Query, place: int, text: str, actor: str | None, now: float) -> Entry:
    """Make an entry of the question's scope for the decider; `place` is its id, in 32 digits."""
    return Entry(
        id=f"{place:032d}",
        tenant=query.tenant.name,
        namespace=query.controls.namespace,
        fingerprint="",
        scope=query.scope,
        text=text,
        model=query.model,
        message=b"{}",
        usage=Usage(),
        cost=None,
        tags=(),
        created_at=now,
        expires_at=now + query.controls.min_fresh_s + 1,
        actor=actor,
    )
