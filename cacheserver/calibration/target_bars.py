"""Bars of targets in scopes, remembered until the labels change: some 30 ms each to learn.

`states` keeps those that decide requests; here are those that people try.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration, Label

_REMEMBERED: Final = 64  # scopes, as many as `states` remembers

Bars: TypeAlias = Mapping[float, conformal_bound.Bar]


class TargetBars:
    """Bars of scopes by target, as of their labels of today."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[Calibration, Bars]] = OrderedDict()

    async def of(
        self, tenant: str, scope: str, state: Calibration, targets: Sequence[float]
    ) -> Bars:
        """Return what each target requires in a scope whose state is `state`."""
        before, known = self._known.pop((tenant, scope), (state, {}))
        if before is not state and _fit(before) != _fit(state):
            known = {}
        lacking = [target for target in targets if target not in known]
        if before is not state or lacking:
            newer = before is not state
            known = await asyncio.to_thread(_updated, known, state, lacking, newer=newer)
        self._known[tenant, scope] = state, known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def _updated(
    known: Bars, state: Calibration, lacking: Sequence[float], *, newer: bool
) -> dict[float, conformal_bound.Bar]:
    """Return the known bars, with what a `newer` state of the same fit shuts, and those lacking."""
    bars = dict(known)
    if newer:
        for target, bar in known.items():
            bars[target] = conformal_bound.refresh_shut_groups(bar, state)
    return bars | {target: conformal_bound.bar_for(state, target) for target in lacking}


def _fit(state: Calibration) -> tuple[tuple[float, ...], tuple[Label, ...]]:
    return state.weights, state.fitted
