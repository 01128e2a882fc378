"""Bars from evidence at hand: labelled pairs, and what shadow mode saw. It changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from cacheserver import answer as answers
from cacheserver.errors import BadRequest
from cacheserver.learning.worker import SHADOW
from cacheserver.policy.curve import Scored, at, curve, recommended
from cacheserver.stores.labels import Labels

MAX_PAIRS = 20_000  # some two minutes of embedding and verifying


class Sums(Protocol):
    async def stats(self, tenant: str | None) -> dict[str, int]: ...


class Pairs:
    """Scores labelled pairs as a decision would, and reports on shadow mode."""

    def __init__(
        self,
        *,
        vector: Callable[[str], Awaitable[Any | None]],
        probability: Callable[[str, str, float], Awaitable[float]],
        labels: Labels,
        journal: Sums,
    ) -> None:
        self._vector = vector
        self._probability = probability
        self._labels = labels
        self._journal = journal

    async def calibrate(
        self, pairs: Sequence[tuple[str, str, bool]], target: float
    ) -> dict[str, Any]:
        """Two curves over the pairs, by probability and by cosine, and the bars for `target`."""
        by: dict[str, list[Scored]] = {"probability": [], "similarity": []}
        unread = 0
        for one, other, right in pairs:
            a, b = await self._vector(one), await self._vector(other)
            if a is None or b is None:
                unread += 1
                continue
            similarity = float(a @ b)
            by["similarity"].append(Scored(round(similarity, 6), right))
            told = await self._probability(one, other, similarity)
            by["probability"].append(Scored(round(told, 6), right))
        return {
            "pairs": len(pairs),
            "unread": unread,  # beyond the embedder's window, or unreadable: never matched
            "target": target,
            **{name: _report(scored, target, asked=len(pairs)) for name, scored in by.items()},
        }

    async def shadow(self, tenant: str, target: float) -> dict[str, Any]:
        """What shadow mode saw of the last questions that came near a stored one."""
        rows = [row for _, row in await self._labels.window(tenant, SHADOW)]
        served = [row for row in rows if row["served"]]
        asked = (await self._journal.stats(tenant)).get("requests", 0)
        found = at(
            [Scored(1.0, bool(row["right"])) for row in served], 1.0, asked=max(asked, len(rows))
        )
        return {
            "compared": len(rows),
            "asked": asked,
            "would_have": {
                **{k: v for k, v in asdict(found).items() if k != "bar"},
                "saved_usd": answers.usd(sum(row["saved"] for row in served)),
            },
            **{
                name: _report(_scored(rows, name), target, asked=max(asked, len(rows)))
                for name in ("probability", "similarity")
            },
        }


def read_pairs(fields: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Pairs from `pairs` or `tsv`. Raises `BadRequest` naming the field or the line."""
    if ("pairs" in fields) == ("tsv" in fields):
        raise BadRequest("pairs", "give `pairs` or `tsv`, one of them")
    rows = _lines(fields["tsv"]) if "tsv" in fields else fields["pairs"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_PAIRS:
        raise BadRequest("pairs", f"must be a list of 1 to {MAX_PAIRS} pairs")
    return [_pair(f"pairs.{place}", row) for place, row in enumerate(rows)]


def _lines(text: object) -> list[dict[str, str]]:
    if not isinstance(text, str) or not text.strip():
        raise BadRequest("tsv", "must be a table with tabs and a header line")
    header, *lines = [line for line in text.splitlines() if line.strip()]
    columns = header.split("\t")
    if missing := {"query_a", "query_b", "label"} - set(columns):
        raise BadRequest("tsv", f"line 1 has no column `{min(missing)}`")
    rows = []
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise BadRequest("tsv", f"line {number} has {len(cells)} cells, not {len(columns)}")
        rows.append(dict(zip(columns, cells, strict=True)))
        if rows[-1]["label"] not in ("0", "1"):
            raise BadRequest("tsv", f"line {number}: `label` must be 0 or 1")
    return rows


def _pair(field: str, row: object) -> tuple[str, str, bool]:
    if not isinstance(row, Mapping):
        raise BadRequest(field, "must be an object")
    for name in ("query_a", "query_b"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadRequest(f"{field}.{name}", "must be a question")
    if row.get("label") not in (0, 1, "0", "1"):
        raise BadRequest(f"{field}.label", "must be 0 or 1")
    return row["query_a"], row["query_b"], row["label"] in (1, "1")


def _scored(rows: Sequence[Mapping[str, Any]], name: str) -> list[Scored]:
    return [Scored(row[name], bool(row["right"])) for row in rows if row.get(name) is not None]


def _report(scored: Sequence[Scored], target: float, *, asked: int) -> dict[str, Any]:
    best = recommended(scored, target, asked=asked)
    return {
        "curve": [asdict(point) for point in curve(scored, asked=asked)],
        "recommended": None if best is None else asdict(best),
    }
