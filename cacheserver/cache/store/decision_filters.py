"""Filters of decisions: what a caller asked for, as a predicate of records and of index rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cacheserver.cache.store.decision_index import (
    ABSENT,
    MILLIONTHS,
    MOST_ID,
    ROW_BYTES,
    digest,
    short,
)
from cacheserver.storage.stored_row import FACTS_BYTES

Rows: TypeAlias = NDArray[np.void]

_FACTS: Final = (
    *(("scope", "<u8"), ("namespace", "<u4"), ("veto", "<u4")),
    *(("similarity", "<i4"), ("probability", "<i4")),
)
ROW: Final = np.dtype(
    [
        *(("id", f"S{MOST_ID}"), ("at", "<f8"), ("cost", "<i8"), ("saved", "<i8")),
        *(("outcome", "<u4"), ("reason", "<u4"), ("model", "<u4"), ("asked", "<u4")),
        *_FACTS,
    ]
)
assert np.dtype([*_FACTS]).itemsize == FACTS_BYTES
assert ROW.itemsize == ROW_BYTES


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, inclusive; None: no bound. A decision without the number is outside."""

    least: float | None = None
    most: float | None = None

    def has(self, value: float | None) -> bool:
        if self.least is None and self.most is None:
            return True
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """Values that decisions must have; None: any. `until` is exclusive."""

    namespace: str | None = None
    scope: str | None = None
    outcome: str | None = None
    reason: str | None = None
    veto: str | None = None
    model: str | None = None  # that was asked or answered
    similarity: Range = Range()
    probability: Range = Range()
    text: str | None = None  # in the question, in any case
    since: float | None = None  # Unix seconds
    until: float | None = None
    similar: bool = False  # there was a candidate
    # Whether `text` is looked for in a record: what may not be read must not be found either.
    readable: Callable[[Mapping[str, Any]], bool] = lambda record: True

    @property
    def folded(self) -> str | None:
        return None if self.text is None else self.text.casefold()

    def match(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has all of it."""
        decision, folded = record["decision"], self.folded
        similarity = decision["similarity"]
        return (
            self.namespace in (None, record["namespace"])
            and self.scope in (None, record["scope"])
            and self.outcome in (None, record["outcome"])
            and self.reason in (None, decision["reason"])
            and self.veto in (None, decision.get("veto"))
            and self.model in (None, record["model"], record["model_asked"])
            and self.similarity.has(similarity)
            and self.probability.has(decision["probability"])
            and (self.since is None or record["at"] >= self.since)
            and (self.until is None or record["at"] < self.until)
            and not (self.similar and similarity is None)
            and (
                folded is None
                or (self.readable(record) and folded in (record["asked"] or "").casefold())
            )
        )

    def select(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows may match: all that do, and those that share a digest with one."""
        keep = np.ones(len(rows), dtype=bool)
        if self.scope is not None:
            keep &= rows["scope"] == np.uint64(digest(self.scope))
        for name in ("namespace", "outcome", "reason", "veto"):
            if (given := getattr(self, name)) is not None:
                keep &= rows[name] == short(given)
        if self.model is not None:
            keep &= (rows["model"] == short(self.model)) | (rows["asked"] == short(self.model))
        for name in ("similarity", "probability"):
            bounds: Range = getattr(self, name)
            if bounds.least is not None:
                keep &= rows[name] >= bounds.least * MILLIONTHS - 1
            if bounds.most is not None:
                keep &= rows[name] <= bounds.most * MILLIONTHS + 1
            if bounds != Range():
                keep &= rows[name] != ABSENT
        if self.similar:
            keep &= rows["similarity"] != ABSENT
        if self.since is not None:
            keep &= rows["at"] >= self.since
        if self.until is not None:
            keep &= rows["at"] < self.until
        return keep
