"""The semantic tier with similarities drawn from a distribution, and a fixed threshold.

Each pair of wordings has its cosine for good: the draw is seeded by their names.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from random import Random

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.seen import ReplayedRequest
from cacheserver.analysis.replay.stored_question import Found, Stored
from cacheserver.analysis.replay.verification import Chances
from cacheserver.analysis.scenarios.scenario import Similarities, Spread, StatedVerification


@dataclass(slots=True)
class _Scope:
    by_topic: OrderedDict[str, list[Stored]] = field(default_factory=OrderedDict)
    latest: list[Stored] = field(default_factory=list)  # of two topics: one is another's than mine


class Drawn:
    """Stored questions by name. `most` bounds topics in a scope, and scopes: the oldest go first.

    `look` knows a question by its call's `source`, "kind:topic:wording".
    """

    def __init__(
        self,
        similarities: Similarities,
        *,
        seed: int,
        most: int = 100_000,
        verification: StatedVerification | None = None,
    ) -> None:
        self._similarities = similarities
        self._verification = verification
        self._seed = seed
        self._most = most
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()

    def ahead(self, seen: ReplayedRequest) -> None:
        """Do nothing: drawn similarities need no embedding."""

    def vector(self, seen: ReplayedRequest) -> None:
        """Return None: the router reads the text alone."""
        return

    def look(self, seen: ReplayedRequest, call: Call) -> Found:
        """Return the server's decision with a threshold, at the time of the call."""
        query = seen.query
        if query.text is None:
            return Found(None, query.exact_only or "exact-only")
        scope = self._scopes.get(query.scope)
        if scope is None:
            return Found(None, "empty")
        topic = _topic(call.source)
        near: list[tuple[float, bool, Stored]] = []
        for stored in scope.by_topic.get(topic, [])[-query.tenant.bar.top_k :]:
            if stored.expires_at > call.at:
                cosine = self._draw(self._similarities.reworded, stored.source, call.source)
                near.append((cosine, True, stored))
        other = next((s for s in reversed(scope.latest) if s.group != topic), None)
        if other is not None and other.expires_at > call.at:
            cosine = self._draw(self._similarities.others, "", f"{query.scope}{call.source}")
            near.append((cosine, False, other))
        if not near:
            return Found(None, "empty")
        best, right, stored = max(near, key=lambda one: one[0])
        if best < self._similarities.bar:
            return Found(None, "below-threshold", chances=self._chances(best, right=right))
        return Found(stored, "similar", right=right)

    def _chances(self, cosine: float, *, right: bool) -> Chances | None:
        stated = self._verification
        if stated is None or cosine < stated.least:
            return None
        yes, no = (stated.sensitivity, 0.0) if right else (0.0, stated.false_yes)
        return Chances(yes, no, expected=stated.probability * stated.sensitivity)

    def store(self, seen: ReplayedRequest, call: Call, found: Found, expires_at: float) -> None:
        """Store a fresh answer, after `look` found none to serve."""
        if seen.query.text is None:
            return
        topic = _topic(call.source)
        stored = Stored(call.source, "", None, expires_at, call.source, topic)
        scope = self._scopes.setdefault(seen.query.scope, _Scope())
        self._scopes.move_to_end(seen.query.scope)
        if len(self._scopes) > self._most:
            self._scopes.popitem(last=False)
        kept = scope.by_topic.setdefault(topic, [])
        kept.append(stored)
        del kept[: -seen.query.tenant.bar.top_k]
        if len(scope.by_topic) > self._most:
            scope.by_topic.popitem(last=False)
        scope.latest = [*[one for one in scope.latest if one.group != topic][-1:], stored]

    def _draw(self, spread: Spread, one: str, other: str) -> float:
        name = f"{self._seed}:{one}:{other}"
        random = Random(zlib.crc32(name.encode()))
        return max(-1.0, min(1.0, random.gauss(spread.mean, spread.sd)))


def _topic(source: str) -> str:
    return source.rpartition(":")[0]
