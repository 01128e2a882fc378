"""Dry run of bars: recent decisions replayed under others, with the questions that change.

Rule: it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any, Protocol, cast

from cacheserver.cache.freshness import bar_of, enabled_vetoes
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.recalled_vetoes import RecalledVetoes, VetoMemory
from cacheserver.calibration.states import States
from cacheserver.calibration.what_if_rules import (
    LabelledCandidate,
    Outcome,
    PastDecision,
    Rate,
    lacking,
    rate,
    read_past_decision,
    read_recorded_evidence,
    replay,
    replay_decision,
)
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.money import usd
from cacheserver.core.types import Bar, Tenant
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.language import Language

_SCOPES = 20  # the most used ones; each may take some 40 ms in a thread
_ANY = 0.0  # a bar for scores that are 1 where the real bar, which differs by scope, is cleared
PAGE = 50  # questions named at once


@dataclass(frozen=True, slots=True)
class _Scope:
    """Bar and labels of a scope under the proposed bars."""

    bar: Bar
    needed: conformal_bound.Bar | None  # required by its target today; None: no target
    labels: list[LabelledCandidate]  # those the bar would serve
    right: Mapping[tuple[str, float], bool]  # by entry and cosine, of all labels


class Decisions(Protocol):
    async def near(self, tenant: str) -> list[dict[str, Any]]:
        """Return the tenant's last decisions that had a similar candidate."""


class WhatIf:
    """Replays a tenant's recorded decisions, labels and shadow window under other bars."""

    def __init__(
        self, *, decisions: Decisions, labels: Labels, states: States, language: Language
    ) -> None:
        self._decisions = decisions
        self._labels = labels
        self._states = states
        self._language = language
        self._vetoes = VetoMemory()

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
        records = await self._decisions.near(before.name)
        mine = [
            record
            for record in records
            if self._states.made(record)
            and _changed(before, after, record["namespace"], record["scope"])
        ]
        pasts = [past for record in mine if (past := read_past_decision(record)) is not None]
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
        scopes: dict[str, _Scope] = {}
        for scope, _ in counts.most_common(_SCOPES):
            bar = bar_of(after, namespaces[scope], scope)
            state = await self._states.get(before.name, scope)
            scopes[scope] = await asyncio.to_thread(_scope, state, bar)
        decided = await asyncio.to_thread(self._decided, pasts, scopes)
        return {
            **({"withheld": NO_CONTENT} if before.no_content else {}),
            "replayed": _replayed(decided),
            "questions": await self._named(before.name, decided, scopes, limit, older),
            "labels": _rate([one for scope in scopes.values() for one in scope.labels]),
            "shadow": _rate(_shadowed(rows, scopes)),
        }

    def _decided(
        self, pasts: Sequence[PastDecision], scopes: Mapping[str, _Scope]
    ) -> list[tuple[PastDecision, Outcome]]:
        """Replay each decision under its scope's bar; undecided for the least used scopes."""
        recalled = RecalledVetoes(self._language, self._vetoes)
        read, language = recalled.read, cast(Language, recalled)
        return [
            (past, replay_decision(past, one.bar, one.needed, read=read, language=language))
            if (one := scopes.get(past.scope)) is not None
            else (past, Outcome(None))
            for past in pasts
        ]

    async def _named(
        self,
        tenant: str,
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
        items = [await self._question(tenant, *one, scopes[one[0].scope].right) for one in page]
        last = page[-1][0] if len(left) > len(page) else None
        return {"items": items, "next": None if last is None else f"{last.at!r}:{last.id}"}

    async def _question(
        self,
        tenant: str,
        past: PastDecision,
        found: Outcome,
        right: Mapping[tuple[str, float], bool],
    ) -> dict[str, Any]:
        begins = past.served is None
        served = past.served if found.candidate is None else found.candidate.entry
        one = next(c for c in past.candidates if c.entry == served)
        was_right = right.get((one.entry, round(one.similarity, 6)))
        gone = await self._labels.past(tenant, past.fingerprint, [(one.entry, one.entry)])
        if gone[one.entry].condemned:
            was_right = False
        return {
            "change": "begins" if begins else "ends",
            "decision_id": past.id,
            "at": past.at,
            "asked": past.question,
            "question": one.question,
            "entry": one.entry,
            "similarity": one.similarity,
            "probability": one.probability,
            "veto": one.veto if begins else (found.vetoes or {}).get(one.entry),
            "supported": one.supported,
            "reason": found.reason,
            "wrong": None if was_right is None else not was_right,
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


def _scope(state: Calibration, bar: Bar) -> _Scope:
    """Return a bar's requirements in a scope, and the scope's labels that meet them."""
    fitted = replace(state, fresh=0)  # the level is of the last fit; what is wrong, of all labels
    needed, cleared = None, list[Label]()
    if bar.similarity is not None:
        cleared = [label for label in fitted.sampled if label.evidence.cosine >= bar.similarity]
    elif bar.target is not None:
        needed = conformal_bound.bar_for(state, bar.target)
        cleared = [
            label
            for probability, label in zip(
                calibration.recorded_probabilities(fitted), fitted.sampled, strict=True
            )
            if lacking(probability, label.evidence, None, needed) is None
        ]
    labels = [LabelledCandidate(1.0, label.right, label.weight) for label in cleared]
    seen = [(label.evidence, label.right) for label in state.labels]
    right = {(e.entry, round(e.cosine, 6)): right for e, right in seen}
    return _Scope(bar, needed, labels, right)


def _replayed(decided: Sequence[tuple[PastDecision, Outcome]]) -> dict[str, Any]:
    shown = asdict(replay(decided))
    shown["reasons"] = dict(sorted(shown["reasons"].items()))
    if shown["expected_wrong"] is not None:
        shown["expected_wrong"] = round(shown["expected_wrong"], 6)
    for name in ("saved_before", "saved_after"):
        shown[f"{name}_usd"] = usd(shown.pop(name))
    return {**shown, "since": min((past.at for past, _ in decided), default=None)}


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
    shown = as_json(rate(served, _ANY))
    return {name: shown[name] for name in shown if name not in ("bar", "hit_rate")}


def as_json(found: Rate) -> dict[str, Any]:
    """Encode a rate, its money in dollars."""
    shown = asdict(found)
    shown["saved_usd"] = usd(shown.pop("saved"))
    return shown
