"""Export and import of labels: one pair a line, both ways.

Rule: an import is checked to its last line before any of it is stored, and each label counts once:
an import that failed half-way can be sent again unchanged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson

from cacheserver.calibration.pairs import label_of
from cacheserver.calibration.review.admin_labels import AdminLabels
from cacheserver.calibration.review.label_queue import LabelQueue, Pair
from cacheserver.core.errors import BadRequest

MAX_LINES = 10_000  # the queue holds a fifth of that
_MAX_NAMED = 10  # invalid lines named in one error
_SHOWN = (
    *("scope", "query_a", "query_b", "entry_id", "decision_id"),
    *("served", "called_good", "similarity", "probability", "bar"),
)
_FIELDS = frozenset({"pair", "label", *_SHOWN})
_LABELS: Final = {"yes": 1, "no": 0}


class LabelFiles:
    """Exports a tenant's pairs and imports their labels."""

    def __init__(self, *, queue: LabelQueue, given: AdminLabels) -> None:
        self._queue = queue
        self._given = given

    async def export(self, tenant: str) -> AsyncIterator[bytes]:
        """Yield all pairs, the least sure first; a person sets `label` where it is null."""
        pairs = await self._queue.pairs(tenant)
        given = await self._given.of(tenant, [pair.digest for pair in pairs])
        for pair in pairs:
            label = given.get(pair.digest)
            if label is not None and label.verdict == "skip":
                continue
            yield (
                orjson.dumps(
                    {
                        "pair": pair.id,
                        **_shown(pair),
                        "label": None if label is None else _LABELS[label.verdict],
                    }
                )
                + b"\n"
            )

    async def take(
        self, tenant: str, rows: Sequence[tuple[int, dict[str, Any]]], *, confirm: bool, who: str
    ) -> dict[str, Any]:
        """Check a labelled export, as read by `read`; with `confirm`, label its pairs.

        Raises `BadRequest` naming the invalid lines and fields; then nothing is stored.
        """
        pairs = {pair.id: pair for pair in await self._queue.pairs(tenant)}
        _check_ids([(number, row["pair"]) for number, row in rows], pairs)
        labelled = [
            (pairs[row["pair"]], right)
            for _, row in rows
            if (right := label_of(row.get("label"))) is not None
        ]
        if confirm:
            for pair, right in labelled:
                await self._queue.label(tenant, pair, "yes" if right else "no", who=who)
        good = sum(right for _, right in labelled)
        return {
            "lines": len(rows),
            "right": good,
            "wrong": len(labelled) - good,
            "unlabelled": len(rows) - len(labelled),  # they stay in the queue
            # Decided by a threshold set by hand, or by a verification: no probability to correct.
            "without_evidence": sum(pair.decided is None for pair, _ in labelled),
            "dry_run": not confirm,
        }


def _shown(pair: Pair) -> dict[str, Any]:
    values = (
        *(pair.scope, pair.query_a, pair.query_b, pair.entry, pair.decision),
        *(pair.served, pair.good, pair.similarity, pair.probability, pair.bar),
    )
    return dict(zip(_SHOWN, values, strict=True))


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
        raise BadRequest("line 1", "must be a pair of an export, one JSON object a line")
    return rows


def _mistake(row: object) -> tuple[str, str] | None:
    """Return the first mistake of a line: the field, with a dot in front, and the reason."""
    if not isinstance(row, dict):
        return "", "must be a JSON object"
    if unknown := row.keys() - _FIELDS:
        return f".{min(unknown)[:64]}", "is not known here"
    if not isinstance(row.get("pair"), str):
        return ".pair", "must be the id of a pair of the queue"
    if row.get("label") is not None and label_of(row["label"]) is None:
        return ".label", "must be 0 or 1, or null where nobody has spoken yet"
    return None


def _check_ids(ids: Sequence[tuple[int, str]], pairs: Mapping[str, Pair]) -> None:
    seen: set[str] = set()
    wrong: list[tuple[str, str]] = []
    for number, pair_id in ids:
        if pair_id not in pairs:
            wrong.append((f"line {number}.pair", "is no pair of this tenant, or has gone"))
        elif pair_id in seen:
            wrong.append((f"line {number}.pair", "came before"))
        seen.add(pair_id)
    _refuse(wrong)


def _refuse(wrong: Sequence[tuple[str, str]]) -> None:
    """Raise `BadRequest` for the invalid lines, naming the first few."""
    if not wrong:
        return
    (field, why), *others = wrong
    more = "".join(f"; `{name}`: {reason}" for name, reason in others[: _MAX_NAMED - 1])
    rest = len(wrong) - _MAX_NAMED
    raise BadRequest(field, f"{why}{more}{f'; and {rest} more' if rest > 0 else ''}")
