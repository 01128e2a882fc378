"""Export and import of the review queue: one JSON object a line, both ways.

Rule: an import is checked to its last line before any of it is stored, and each item counts once:
an import that failed half-way can be sent again unchanged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cacheserver.cache.ports import DecisionLog
from cacheserver.cache.store.entries import Entries
from cacheserver.calibration.pairs import label_of
from cacheserver.calibration.review_store import ReviewQueue
from cacheserver.calibration.states import States
from cacheserver.calibration.worker import Worker
from cacheserver.core.errors import BadRequest
from cacheserver.core.evidence import read_evidence
from cacheserver.core.types import Candidate
from cacheserver.matching.calibration import Label

MAX_LINES = 10_000  # the queue holds a tenth of that
_PAGE = 200
_MAX_NAMED = 10  # invalid lines named in one error
_SHOWN = ("query_a", "query_b", "verdict", "entry_id", "decision_id")
_FIELDS = frozenset({"id", "label", *_SHOWN})


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Item that a person has labelled."""

    id: str
    item: Mapping[str, Any]
    right: bool


class ReviewFiles:
    """Exports a tenant's queue and imports it labelled."""

    def __init__(
        self,
        *,
        reviews: ReviewQueue,
        entries: Entries,
        states: States,
        worker: Worker,
        decision_log: DecisionLog,
    ) -> None:
        self._reviews = reviews
        self._entries = entries
        self._states = states
        self._worker = worker
        self._journal = decision_log

    async def export(self, tenant: str) -> AsyncIterator[bytes]:
        """Yield the whole queue, oldest first, a line each; a person sets `label`."""
        async for item_id, item in self._items(tenant):
            shown = {name: item.get(name) for name in _SHOWN}
            yield orjson.dumps({"id": item_id, **shown, "label": None}) + b"\n"

    async def take(
        self, tenant: str, rows: Sequence[tuple[int, dict[str, Any]]], *, confirm: bool
    ) -> dict[str, Any]:
        """Check a labelled export, as read by `read`; with `confirm`, learn from it too.

        Raises `BadRequest` naming the invalid lines and fields; then nothing is stored.
        """
        queue = {item_id: item async for item_id, item in self._items(tenant)}
        _check_ids([(number, row["id"]) for number, row in rows], queue)
        reviewed = [
            Reviewed(row["id"], queue[row["id"]], right)
            for _, row in rows
            if (right := label_of(row.get("label"))) is not None
        ]
        if confirm:
            for one in reviewed:
                await self._learn(tenant, one)
            await self._reviews.remove(tenant, [one.id for one in reviewed])
            self._journal.count(tenant, {"reviewed": len(reviewed)})
        good = sum(one.right for one in reviewed)
        return {
            "lines": len(rows),
            "right": good,
            "wrong": len(reviewed) - good,
            "unlabelled": len(rows) - len(reviewed),  # they stay in the queue
            # Decided by a threshold set by hand, or by a verification: no probability to correct.
            "without_evidence": sum("decided" not in one.item for one in reviewed),
            "dry_run": not confirm,
        }

    async def _learn(self, tenant: str, reviewed: Reviewed) -> None:
        decided = reviewed.item.get("decided")
        if not reviewed.right:
            await self._condemn(tenant, reviewed)
        if decided is None:
            return
        label = Label(
            evidence=read_evidence(decided["evidence"]),
            right=reviewed.right,
            weight=1.0,
            source="admin",
            served=True,
            embedder=decided["embedder"],
            caller=decided.get("caller", ""),
            namespace=decided.get("namespace"),
        )
        await self._states.learn(tenant, decided["scope"], label, once=f"review:{reviewed.id}")

    async def _condemn(self, tenant: str, reviewed: Reviewed) -> None:
        """Never serve the entry for that question again, whatever served it."""
        served, decided = reviewed.item.get("served"), reviewed.item.get("decided")
        if served is None and decided is not None:  # queued by an earlier version
            served = {
                "fingerprint": decided["fingerprint"],
                "similarity": decided["evidence"]["cosine"],
            }
        entry = await self._entries.by_id(tenant, reviewed.item["entry_id"])
        if served is None or entry is None:
            return  # no semantic hit; or expired: it cannot be served again
        (stored,) = await self._entries.grouped([(entry.fingerprint, entry.id)])
        group = "" if stored is None else stored.group
        hit = Candidate(entry, served["similarity"], group)
        once = f"review:{reviewed.id}"
        await self._worker.condemn(tenant, served["fingerprint"], hit, once=once)

    async def _items(self, tenant: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        after: str | None = None
        while page := await self._reviews.items(tenant, after=after, limit=_PAGE):
            for item_id, item in page:
                yield item_id, item
            after = page[-1][0]


def read(lines: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Return the lines that are not empty, with their numbers. Raises `BadRequest`."""
    rows: list[tuple[int, dict[str, Any]]] = []
    wrong: list[tuple[str, str]] = []
    for number, line in enumerate(lines.split(b"\n"), start=1):
        if not line.strip():
            continue
        if number > MAX_LINES:
            raise BadRequest(f"line {number}", f"an import has at most {MAX_LINES} lines")
        try:
            row = orjson.loads(line)
        except ValueError:
            row = None
        if found := _mistake(row):
            wrong.append((f"line {number}{found[0]}", found[1]))
        else:
            rows.append((number, row))
    _refuse(wrong)
    if not rows:
        raise BadRequest("line 1", "must be an item of the queue, one JSON object a line")
    return rows


def _mistake(row: object) -> tuple[str, str] | None:
    """Return the first mistake of a line: the field, with a dot in front, and the reason."""
    if not isinstance(row, dict):
        return "", "must be a JSON object"
    if unknown := row.keys() - _FIELDS:
        return f".{min(unknown)[:64]}", "is not known here"
    if not isinstance(row.get("id"), str):
        return ".id", "must be the id of an item of the queue"
    if row.get("label") is not None and label_of(row["label"]) is None:
        return ".label", "must be 0 or 1, or null where nobody has spoken yet"
    return None


def _check_ids(ids: Sequence[tuple[int, str]], queue: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    wrong: list[tuple[str, str]] = []
    for number, item_id in ids:
        if item_id not in queue:
            wrong.append((f"line {number}.id", "is not in this tenant's queue"))
        elif item_id in seen:
            wrong.append((f"line {number}.id", "came before"))
        seen.add(item_id)
    _refuse(wrong)


def _refuse(wrong: Sequence[tuple[str, str]]) -> None:
    """Raise `BadRequest` for the invalid lines, naming the first few."""
    if not wrong:
        return
    (field, why), *others = wrong
    more = "".join(f"; `{name}`: {reason}" for name, reason in others[: _MAX_NAMED - 1])
    rest = len(wrong) - _MAX_NAMED
    raise BadRequest(field, f"{why}{more}{f'; and {rest} more' if rest > 0 else ''}")
