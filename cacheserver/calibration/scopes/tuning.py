"""All that a person needs to set a scope's bar: what each one would serve, and the questions that
change sides between them.

Rule: it changes nothing. Figures are of the requests of the last day, by the nearest candidate of
each; a dry run (`calibration.what_if`) replays the last of them exactly. Both count wrong hits by
the same labels: those that the bar would serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, Final

import numpy as np

from cacheserver.cache.store.decision_filters import ROW, Rows
from cacheserver.cache.store.decision_index import MILLIONTHS, short
from cacheserver.cache.store.decision_search import DecisionSearch
from cacheserver.calibration.answers.beginnings import AnswerBeginnings
from cacheserver.calibration.past_decisions import PastDecisions
from cacheserver.calibration.scopes.reports import ScopeDay, ScopeReports, labels_by
from cacheserver.calibration.scopes.traffic import Bars, covered_s, served, wrong_of
from cacheserver.calibration.target_bars import TargetBars
from cacheserver.calibration.verdicts import JudgedPair, Verdicts, right_of
from cacheserver.calibration.what_if_rules import served_labels
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.types import Tenant
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration

TARGETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
MOST_QUESTIONS: Final = 500
_SUPPORT_READ: Final = 300  # decisions nearest to the bar, at least, that are asked for support
_STEPS: Final = 100_000  # bars of a similarity have five digits


@dataclass(frozen=True, slots=True)
class _Step:
    """A bar that a person can choose, as a `PUT` of bars takes it, and where it is on the scale."""

    bar: Mapping[str, Any]
    at: float | None  # None: no candidate reaches it
    basis: str | None = None
    needed: conformal_bound.Bar | None = None  # what a target asks for in the scope


class ScopeTuning:
    """Reports for the choice of a bar. Raises `StoreError`."""

    def __init__(
        self,
        *,
        reports: ScopeReports,
        past: PastDecisions,
        search: DecisionSearch,
        verdicts: Verdicts,
        answers: AnswerBeginnings,
        targets: TargetBars,
        clock: Callable[[], float],
    ) -> None:
        self._reports = reports
        self._past = past
        self._search = search
        self._verdicts = verdicts
        self._answers = answers
        self._clock = clock
        self._targets = targets

    async def of(
        self, tenant: Tenant, scope: str, *, scale: str | None, limit: int
    ) -> dict[str, Any]:
        """Report a scope's bars by `probability` or `similarity`; None: as its bar in force.

        `limit` questions, those nearest to the bar in force. Raises `Unknown`.
        """
        day = await self._reports.scope(tenant, scope)
        if scale is None:
            scale = "similarity" if day.bar.similarity is not None else "probability"
        steps = [] if scale == "similarity" else await self._by_target(tenant.name, scope, day)
        in_force = _in_force(day, scale, steps)

        near, left_out = await asyncio.to_thread(_nearest, day, scale, in_force, limit)
        # Figures do not depend on how many questions are shown.
        wide = limit if scale == "similarity" else max(limit, _SUPPORT_READ)
        read = near
        if wide > limit:
            read, _ = await asyncio.to_thread(_nearest, day, scale, in_force, wide)
        records = await self._records(tenant.name, read)
        lacking = [id for id, one in records.items() if _lacks_support(one, scale)]
        questions = await self._questions(tenant, scale, near, records, day.state)
        self._past.prepare(tenant.name)
        return {
            **day.report,
            "scale": scale,
            "covers_s": None if day.since is None else covered_s(day.since, self._clock()),
            **await asyncio.to_thread(_shown, day, scale, steps, in_force, lacking),
            "questions": questions,
            "left_out": left_out,
            **({"withheld": NO_CONTENT} if tenant.no_content else {}),
        }

    async def _by_target(self, tenant: str, scope: str, day: ScopeDay) -> list[_Step]:
        """Return the steps of targets: what probability each of them asks for here."""
        wanted = sorted({*TARGETS, *([] if day.bar.target is None else [day.bar.target])})
        bars = await self._targets.of(tenant, scope, day.state, wanted)
        steps = [_step(bars[target]) for target in wanted]
        return [
            step
            for place, step in enumerate(steps)  # a looser target that asks for no less is left out
            if not place or step.at != steps[place - 1].at or step.bar["target"] == day.bar.target
        ]

    async def _records(self, tenant: str, rows: Rows) -> dict[str, dict[str, Any]]:
        """Return the decisions of index rows that had a candidate, by id."""
        ids = [row.decode() for row in rows["id"]]
        found = [one for one in await self._search.records(tenant, ids) if one is not None]
        return {one["id"]: one for one in found if one["decision"].get("candidate") is not None}

    async def _questions(
        self,
        tenant: Tenant,
        scale: str,
        rows: Rows,
        records: Mapping[str, dict[str, Any]],
        state: Calibration,
    ) -> list[dict[str, Any]]:
        """Return the questions of index rows, the likeliest first."""
        ids = [row.decode() for row in rows["id"]]
        scores = dict(zip(ids, (rows[scale] / MILLIONTHS).tolist(), strict=True))
        found = [records[id] for id in ids if id in records]
        pairs = [
            JudgedPair(
                one["fingerprint"], one["decision"]["candidate"], one["decision"]["similarity"]
            )
            for one in found
        ]
        right = right_of(state.labels, {pair.entry for pair in pairs})
        wrong = await self._verdicts.wrong(tenant.name, pairs, [right] * len(pairs))
        answers = await self._answers.of(tenant, [pair.entry for pair in pairs])
        return [
            {
                "decision_id": one["id"],
                "pair": f"{one['id']}:{pair.entry}",
                "at": one["at"],
                "score": scores[one["id"]],
                "served": one["outcome"] == "semantic",
                "asked": one["asked"],
                "question": one["decision"]["question"],
                "entry": pair.entry,
                "answer": answers.get(pair.entry),
                "similarity": pair.similarity,
                "probability": one["decision"]["probability"],
                "supported": one["decision"].get("supported"),
                "reason": one["decision"]["reason"],
                "worth_usd": one["saved_usd" if one["outcome"] == "semantic" else "cost_usd"],
                "wrong": is_wrong,
            }
            for one, pair, is_wrong in zip(found, pairs, wrong, strict=True)
        ]


def _step(needed: conformal_bound.Bar) -> _Step:
    at = None if needed.level > 1 else round(needed.level, 6)
    return _Step({"target": needed.target}, at, needed.basis, needed)


def _in_force(day: ScopeDay, scale: str, steps: Sequence[_Step]) -> _Step | None:
    """Return the bar in force as a step of a scale; None: it is of the other kind."""
    bar = day.bar
    if bar.exact_only or (bar.similarity is None and bar.target is None):
        return _Step({"exact_only": True}, None)
    if scale == "similarity":
        return (
            None
            if bar.similarity is None
            else _Step({"similarity": bar.similarity}, bar.similarity)
        )
    return next((step for step in steps if step.bar.get("target") == bar.target), None)


def _lacks_support(record: Mapping[str, Any], scale: str) -> bool:
    """Return whether a question stays a miss however probable its answer is."""
    unsupported = record["decision"].get("supported") is False
    return scale == "probability" and unsupported and record["outcome"] != "semantic"


def _shown(
    day: ScopeDay,
    scale: str,
    steps: Sequence[_Step],
    in_force: _Step | None,
    lacking: Sequence[str],
) -> dict[str, Any]:
    """Return the curve, the steps of a slider from the strictest on, and the one in force.

    `lacking` are decisions whose answers lack support.
    """
    rows = day.rows
    if lacking:
        rows = rows.compress(~np.isin(rows["id"], np.array(lacking, dtype=ROW["id"])))
    if scale == "probability":
        rows = rows.compress(rows["reason"] != short("unsupported"))
    support = next((step.needed.support for step in steps if step.needed is not None), None)
    bars = Bars(rows, day.traffic, scale, labels_by(scale, day.state, support))
    curve = bars.points()
    if not steps:
        marks = {_below(point["bar"]) for point in curve}
        if in_force is not None and in_force.at is not None:
            marks.add(in_force.at)
        steps = [_Step({scale: at}, at) for at in sorted(marks, reverse=True)]
    shown = [_Step({"exact_only": True}, None), *steps]
    held = None if in_force is None else in_force.bar
    place = next((place for place, step in enumerate(shown) if step.bar == held), None)
    fitted = replace(day.state, fresh=0)  # of all labels
    probabilities = calibration.recorded_probabilities(fitted) if scale == "probability" else None
    return {
        "curve": curve,
        "steps": [
            {
                "set": step.bar,
                "basis": step.basis,
                **bars.at(step.at),
                **wrong_of(
                    served_labels(
                        fitted.sampled, probabilities, step.bar.get("similarity"), step.needed
                    )
                ),
            }
            for step in shown
        ],
        "in_force": place,
        "now": served(day.rows, day.traffic),
    }


def _below(score: float) -> float:
    """Return a bar that the score reaches: scores are rounded, and the cosine may be less."""
    return floor((score - 0.5 / MILLIONTHS) * _STEPS) / _STEPS


def _nearest(
    day: ScopeDay, scale: str, in_force: _Step | None, limit: int
) -> tuple[Rows, dict[str, int]]:
    """Return the rows nearest to a bar by rank, the likeliest first, and how many are left out."""
    bars = Bars(day.rows, day.traffic, scale, ())
    count = len(bars.scores)
    at = None if in_force is None else in_force.at
    middle = count if at is None else int(np.searchsorted(bars.scores, at - 0.5 / MILLIONTHS))
    first = max(0, min(middle - limit // 2, count - limit))
    last = min(count, first + limit)
    return bars.near[first:last][::-1], {"above": count - last, "below": first}
