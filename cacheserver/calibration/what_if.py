"""Dry run of bars: recent decisions replayed under others, with the questions that change.

Rule: it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any, Final, Protocol

from cacheserver.cache.freshness import bar_of, enabled_vetoes
from cacheserver.cache.store.decision_scripts import DECISION_S, LISTED
from cacheserver.calibration.answers.beginnings import AnswerBeginnings
from cacheserver.calibration.past_decisions import PastDecisions, Replayable
from cacheserver.calibration.scopes.traffic import covered_s
from cacheserver.calibration.states import States
from cacheserver.calibration.target_bars import Bars, TargetBars
from cacheserver.calibration.verdicts import JudgedPair, Verdicts, right_of
from cacheserver.calibration.what_if_rules import (
    LabelledCandidate,
    Nearby,
    Outcome,
    PastDecision,
    Replay,
    by_hits,
    lacking,
    rate,
    rate_as_json,
    read_recorded_evidence,
    replay,
    replay_decision,
    served_labels,
)
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.money import usd
from cacheserver.core.types import Bar, Tenant
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration

LEAST_S: Final = 3_600  # that decisions must cover to tell of a day
_SCOPES = 20  # the most used ones; each may take some 40 ms in a thread
_ANY = 0.0  # a bar for scores that are 1 where the real bar, which differs by scope, is cleared
PAGE = 50  # questions named at once


@dataclass(frozen=True, slots=True)
class _Scope:
    """Bar and labels of a scope under the proposed bars."""

    bar: Bar
    needed: conformal_bound.Bar | None  # required by its target today; None: no target
    labels: list[LabelledCandidate]  # those the bar would serve
    state: Calibration


class Search(Protocol):
    async def since(self, tenant: str) -> float | None:
        """Return from when on a tenant's decisions are kept, Unix seconds."""


class WhatIf:
    """Replays a tenant's recorded decisions, labels and shadow window under other bars."""

    def __init__(
        self,
        *,
        decisions: PastDecisions,
        search: Search,
        states: States,
        targets: TargetBars,
        verdicts: Verdicts,
        answers: AnswerBeginnings,
        clock: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._search = search
        self._states = states
        self._targets = targets
        self._verdicts = verdicts
        self._answers = answers
        self._clock = clock

    async def of(
        self, before: Tenant, after: Tenant, *, limit: int = PAGE, cursor: str | None = None
    ) -> dict[str, Any]:
        """Report what the bars of `after` would have served, if they differ from those of `before`.

        `limit` and `cursor` page through the questions that begin or end to be served, latest
        first. For a tenant that stores no content there are none, and vetoes cannot be read again:
        the report is limited to what needs neither. Raises `BadRequest` for an invalid cursor, and
        `StoreError`.
        """
        older = _older(cursor)
        recent = await self._decisions.of(before.name)
        pasts = [
            past for past in recent.decisions if _changed(before, after, past.namespace, past.scope)
        ]
        rows = [
            row
            for row in await self._states.shadow_window(before.name)
            if "scope" in row and _changed(before, after, row["namespace"], row["scope"])
        ]
        counts = Counter(past.scope for past in pasts)
        namespaces = {past.scope: past.namespace for past in pasts}
        for row in rows:
            namespaces.setdefault(row["scope"], row["namespace"])
            counts[row["scope"]] += 1
        scopes, earlier = dict[str, _Scope](), dict[str, _Scope]()
        for scope, _ in counts.most_common(_SCOPES):
            state = await self._states.get(before.name, scope)
            bars = [bar_of(tenant, namespaces[scope], scope) for tenant in (after, before)]
            targets = [bar.target for bar in bars if bar.similarity is None and bar.target]
            needed = await self._targets.of(before.name, scope, state, targets)
            scopes[scope], earlier[scope] = await asyncio.to_thread(
                lambda bars, *given: [_scope(bar, *given) for bar in bars], bars, state, needed
            )
        decided = await asyncio.to_thread(_decided, pasts, scopes)
        replayed = replay(decided)
        labels = [one for scope in scopes.values() for one in scope.labels]
        return {
            **({"withheld": NO_CONTENT} if before.no_content else {}),
            "replayed": _replayed(replayed, decided),
            "per_day": await self._per_day(before.name, recent, replayed),
            "wrong_before": _wrong(earlier, _hits(decided, before=True)),
            "wrong_after": _wrong(scopes, _hits(decided, before=False)),
            "questions": await self._named(before, recent, decided, scopes, limit, older),
            "labels": _rate(labels),
            "shadow": _rate(_shadowed(rows, scopes)),
        }

    async def _per_day(
        self, tenant: str, recent: Replayable, replayed: Replay
    ) -> dict[str, Any] | None:
        """Scale sums to a day by the time that the decisions cover; None if that is too short."""
        if len(recent.stored) >= LISTED:  # those before them are not listed
            since = min((past.at for past in recent.decisions), default=None)
        else:
            since = await self._search.since(tenant)
        seconds = 0 if since is None else covered_s(since, self._clock())
        if seconds < LEAST_S:
            return None
        days = seconds / DECISION_S
        return {
            "covers_s": seconds,
            "hits_before": round(replayed.hits_before / days),
            "hits_after": round(replayed.hits_after / days),
            "saved_before_usd": usd(round(replayed.saved_before / days)),
            "saved_after_usd": usd(round(replayed.saved_after / days)),
        }

    async def _named(
        self,
        tenant: Tenant,
        recent: Replayable,
        decided: Sequence[tuple[PastDecision, Outcome]],
        scopes: Mapping[str, _Scope],
        limit: int,
        older: tuple[float, str] | None,
    ) -> dict[str, Any]:
        """Return a page of the questions that begin or end to be served."""
        changed = [
            (past, found)
            for past, found in decided
            if found.serves is not None and found.serves != (past.served is not None)
        ]
        changed.sort(key=lambda pair: (pair[0].at, pair[0].id), reverse=True)
        left = [one for one in changed if older is None or (one[0].at, one[0].id) < older]
        page = left[:limit]
        chosen = [_chosen(*one) for one in page]
        records = await self._decisions.records(tenant.name, recent, [past.id for past, _ in page])
        pairs = [
            JudgedPair(past.fingerprint, one.entry, one.similarity)
            for (past, _), one in zip(page, chosen, strict=True)
        ]
        entries = {one.entry for one in chosen}
        rights = {
            scope: right_of(scopes[scope].state.labels, entries)
            for scope in {past.scope for past, _ in page}
        }
        wrong = await self._verdicts.wrong(
            tenant.name, pairs, [rights[past.scope] for past, _ in page]
        )
        answers = await self._answers.of(tenant, [one.entry for one in chosen])
        items = [
            _question(past, found, one, record, wrong=is_wrong, answer=answers.get(one.entry))
            for (past, found), one, record, is_wrong in zip(
                page, chosen, records, wrong, strict=True
            )
        ]
        last = page[-1][0] if len(left) > len(page) else None
        return {"items": items, "next": None if last is None else f"{last.at!r}:{last.id}"}


def _decided(
    pasts: Sequence[PastDecision], scopes: Mapping[str, _Scope]
) -> list[tuple[PastDecision, Outcome]]:
    """Replay each decision under its scope's bar; undecided for the least used scopes."""
    return [
        (past, Outcome(None) if one is None else replay_decision(past, one.bar, one.needed))
        for past in pasts
        for one in [scopes.get(past.scope)]
    ]


def _chosen(past: PastDecision, found: Outcome) -> Nearby:
    """Return the candidate whose answer begins or ends to be served."""
    served = past.served if found.candidate is None else found.candidate.entry
    return next(one for one in past.candidates if one.entry == served)


def _question(
    past: PastDecision,
    found: Outcome,
    one: Nearby,
    record: Mapping[str, Any] | None,
    *,
    wrong: bool | None,
    answer: str | None,
) -> dict[str, Any]:
    begins = past.served is None
    rows = () if record is None else record["decision"]["candidates"]
    return {
        "change": "begins" if begins else "ends",
        "decision_id": past.id,
        "at": past.at,
        "scope": past.scope,
        "asked": None if record is None else record["asked"],
        "question": next((row["question"] for row in rows if row["entry"] == one.entry), None),
        "entry": one.entry,
        "answer": answer,
        "similarity": one.similarity,
        "probability": one.probability,
        "veto": one.veto if begins else (found.vetoes or {}).get(one.entry),
        "supported": one.supported,
        "reason": found.reason,
        "worth_usd": usd(past.worth),
        "wrong": wrong,
    }


def _changed(before: Tenant, after: Tenant, namespace: str, scope: str) -> bool:
    return bar_of(before, namespace, scope) != bar_of(after, namespace, scope)


def _older(cursor: str | None) -> tuple[float, str] | None:
    """Read a cursor: time and decision of the last question of the previous page."""
    if cursor is None:
        return None
    at, mark, decision = cursor.partition(":")
    try:
        found = float(at)
    except ValueError:
        found = nan
    if not mark or not isfinite(found):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return found, decision


def _scope(bar: Bar, state: Calibration, bars: Bars) -> _Scope:
    """Return a bar's requirements in a scope, and the scope's labels that meet them."""
    fitted = replace(state, fresh=0)  # the level is of the last fit; what is wrong, of all labels
    needed, probabilities = None, None
    if bar.similarity is None and bar.target is not None:
        needed = bars[bar.target]
        probabilities = calibration.recorded_probabilities(fitted)
    labels = served_labels(fitted.sampled, probabilities, bar.similarity, needed)
    return _Scope(bar, needed, labels, state)


def _hits(decided: Sequence[tuple[PastDecision, Outcome]], *, before: bool) -> Counter[str]:
    """Return the replayed hits by scope, as they were or under the other bars."""
    return Counter(
        past.scope
        for past, found in decided
        if found.serves is not None and (past.served if before else found.candidate) is not None
    )


def _replayed(replayed: Replay, decided: Sequence[tuple[PastDecision, Outcome]]) -> dict[str, Any]:
    shown = asdict(replayed)
    shown["reasons"] = dict(sorted(shown["reasons"].items()))
    if shown["expected_wrong"] is not None:
        shown["expected_wrong"] = round(shown["expected_wrong"], 6)
    for name in ("saved_before", "saved_after"):
        shown[f"{name}_usd"] = usd(shown.pop(name))
    return {**shown, "since": min((past.at for past, _ in decided), default=None)}


def _wrong(scopes: Mapping[str, _Scope], hits: Counter[str]) -> dict[str, Any] | None:
    """Return how many of some hits are wrong, by the labels that bars serve; None without any.

    Each scope counts by its hits, not by its number of labels.
    """
    found = rate(by_hits({scope: one.labels for scope, one in scopes.items()}, hits), _ANY)
    if not found.hits - found.unsure:
        return None
    total = hits.total()
    shares = (found.wrong_rate, found.wrong_low, found.wrong_high)
    counts = zip(("expected", "low", "high"), shares, strict=True)
    return {
        "hits": total,
        **{name: round(share * total, 2) for name, share in counts},
        "share": round(found.wrong_rate, 6),
        "interval": [round(found.wrong_low, 6), round(found.wrong_high, 6)],
        "labels": found.hits - found.unsure,
    }


def _shadowed(
    rows: Sequence[Mapping[str, Any]], scopes: Mapping[str, _Scope]
) -> list[LabelledCandidate]:
    """Return the shadow records that the bars would have served."""
    found = []
    for row in rows:
        one = scopes.get(row["scope"])
        if one is None or row.get("veto") in enabled_vetoes(one.bar):
            continue
        if one.bar.similarity is not None:
            serves = row["similarity"] >= one.bar.similarity
        else:
            serves = (
                one.needed is not None
                and row["probability"] is not None
                and lacking(
                    row["probability"],
                    read_recorded_evidence(row.get("evidence")),
                    row.get("supported"),
                    one.needed,
                )
                is None
            )
        if serves:
            found.append(LabelledCandidate(1.0, row["right"], worth=row["saved"]))
    return found


def _rate(served: Sequence[LabelledCandidate]) -> dict[str, Any] | None:
    """Return the rate of wrong hits; None without labels."""
    if not served:
        return None
    shown = rate_as_json(rate(served, _ANY))
    return {name: shown[name] for name in shown if name not in ("bar", "hit_rate")}
