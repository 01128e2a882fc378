"""A change of bars tried on what was asked lately: what would have been served.

Rule: it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from cacheserver import answer as answers
from cacheserver.learning.states import States
from cacheserver.learning.worker import SHADOW
from cacheserver.policy import bound, calibrate
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.decide import bar_of
from cacheserver.policy.replay import Past, Rate, Told, past_of, rate, replay, serves
from cacheserver.stores.labels import Labels
from cacheserver.types import Bar, Tenant

_SCOPES = 20  # those most asked in; each may take some 40 ms of a thread
_ANY = 0.0  # a bar for scores that are 1 where the real bar, which differs by scope, is cleared


class Decisions(Protocol):
    async def near(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's last decisions that turned on a similarity."""


class Rehearsal:
    """Replays a tenant's recorded decisions, labels and shadow window under other bars."""

    def __init__(self, *, decisions: Decisions, labels: Labels, states: States) -> None:
        self._decisions = decisions
        self._labels = labels
        self._states = states

    async def of(self, before: Tenant, after: Tenant) -> dict[str, Any]:
        """What the bars of `after` would have done, where they differ from those of `before`.

        Raises `StoreError`.
        """
        records = await self._decisions.near(before.name)
        pasts = [past for record in records if (past := past_of(record)) is not None]
        pasts = [past for past in pasts if _changed(before, after, past.namespace, past.scope)]
        rows = [
            row
            for _, row in await self._labels.window(before.name, SHADOW)
            if "scope" in row and _changed(before, after, row["namespace"], row["scope"])
        ]
        scopes = Counter(past.scope for past in pasts)
        namespaces = {past.scope: past.namespace for past in pasts}
        for row in rows:
            namespaces.setdefault(row["scope"], row["namespace"])
            scopes[row["scope"]] += 1
        levels: dict[str, float] = {}
        told: list[Told] = []
        for scope, _ in scopes.most_common(_SCOPES):
            bar = bar_of(after, namespaces[scope], scope)
            state = await self._states.get(before.name, scope)
            levels[scope], found = await asyncio.to_thread(_tell, state, bar)
            told += found
        return {
            "replayed": _replayed(after, pasts, levels),
            "labels": _rate([one for one in told if one.score]),
            "shadow": _rate(_shadowed(after, rows, levels)),
        }

    async def knows(self, tenant: Tenant, scope: str) -> bool:
        """Whether anything was learned or set in a scope. Raises `StoreError`."""
        return scope in tenant.scope_bars or scope in await self._labels.scopes(tenant.name)


def _changed(before: Tenant, after: Tenant, namespace: str, scope: str) -> bool:
    return bar_of(before, namespace, scope) != bar_of(after, namespace, scope)


def _tell(state: Calibration, bar: Bar) -> tuple[float, list[Told]]:
    """The level a bar asks for in a scope, and which of the scope's labels clear it."""
    if bar.similarity is not None:
        level = bar.similarity
        scores = [label.evidence.cosine for label in state.labels]
    elif bar.target is not None:
        level = bound.bar_for(state, bar.target).level
        scores = calibrate.left_out(state)
    else:
        return bound.CLOSED, []
    return level, [
        Told(float(score >= level), label.right, label.weight)
        for score, label in zip(scores, state.labels, strict=True)
    ]


def _replayed(after: Tenant, pasts: Sequence[Past], levels: Mapping[str, float]) -> dict[str, Any]:
    decided = [
        (past, serves(past, bar_of(after, past.namespace, past.scope), levels[past.scope]))
        if past.scope in levels
        else (past, None)
        for past in pasts
    ]
    found = replay(decided)
    shown = asdict(found)
    for name in ("saved_before", "saved_after"):
        shown[f"{name}_usd"] = answers.usd(shown.pop(name))
    return {**shown, "since": min((past.at for past in pasts), default=None)}


def _shadowed(
    after: Tenant, rows: Sequence[Mapping[str, Any]], levels: Mapping[str, float]
) -> list[Told]:
    """Of what shadow mode compared, that which the bars would have served."""
    found = []
    for row in rows:
        bar = bar_of(after, row["namespace"], row["scope"])
        score = row["similarity"] if bar.similarity is not None else row["probability"]
        level = bar.similarity or levels.get(row["scope"], bound.CLOSED)
        if score is not None and score >= level:
            found.append(Told(1.0, row["right"], worth=row["saved"]))
    return found


def _rate(served: Sequence[Told]) -> dict[str, Any] | None:
    """How often what is served was wrong; None where nothing tells."""
    if not served:
        return None
    shown = as_json(rate(served, _ANY))
    return {name: shown[name] for name in shown if name not in ("bar", "hit_rate")}


def as_json(found: Rate) -> dict[str, Any]:
    """A rate as it is shown, its money in dollars."""
    shown = asdict(found)
    shown["saved_usd"] = answers.usd(shown.pop("saved"))
    return shown
