"""Claude's prompt cache in a replay: the planner's marks, and what Claude would have made of them.

The plan is `promptcache.planner`'s; what Claude keeps is what its documentation says, as
in the simulated Claude, which a contract test holds it to. Tokens are those the call was billed
for: the layout's estimates only share them out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from cacheserver.analysis.replay.prefixes import Sights
from cacheserver.analysis.replay.seen import ReplayedRequest
from cacheserver.core.types import Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.promptcache.layout import MarkPosition, marked_by_caller, minimum
from cacheserver.promptcache.multipliers import Cost, Rates, rates
from cacheserver.promptcache.planner import LIFETIME_S, LOOKBACK, Draft, Ttl, begun, draft, settle
from cacheserver.promptcache.prefixes import MOST

_TENANTS = 1_000  # whose prefixes are remembered, those that asked last
_MOST_PREFIXES = 200_000  # prefixes Claude keeps at once, some 150 bytes each
_RATES = 1_000


class ReplayedPrefixes:
    """The prefixes that Claude keeps."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, tuple[int, float]] = OrderedDict()  # lifetime, deadline

    def use(
        self, spots: Sequence[MarkPosition], marks: Sequence[tuple[int, Ttl]], now: float
    ) -> tuple[int, int, int]:
        """Return tokens read, written for 5 minutes and for an hour by a call at `now`."""
        reached = max((self._reach(spots, at, now) for at, _ in marks), default=-1)
        for at in {*(at for at, _ in marks if at < reached), reached} - {-1}:
            self._renew(spots[at].prefix, now)
        counted = spots[reached].tokens if reached >= 0 else 0
        read, written = counted, {"5m": 0, "1h": 0}
        for at, ttl in marks:
            if at > reached:
                written[ttl] += spots[at].tokens - counted
                counted = spots[at].tokens
                self._keep(spots[at].prefix, LIFETIME_S[ttl], now)
        return read, written["5m"], written["1h"]

    def _reach(self, spots: Sequence[MarkPosition], mark: int, now: float) -> int:
        """The longest kept prefix that a mark finds; -1: none within its look back."""
        for at in range(mark, -1, -1):
            if spots[mark].position - spots[at].position >= LOOKBACK:
                break
            kept = self._until.get(spots[at].prefix)
            if kept is not None and kept[1] > now:
                return at
        return -1

    def _renew(self, prefix: str, now: float) -> None:
        kept = self._until.get(prefix)
        if kept is not None and kept[1] > now:
            self._keep(prefix, kept[0], now)

    def _keep(self, prefix: str, lifetime_s: int, now: float) -> None:
        stats = self._until.get(prefix)
        if stats is None or stats[1] < now + lifetime_s:
            self._until[prefix] = (lifetime_s, now + lifetime_s)
        self._until.move_to_end(prefix)
        if len(self._until) > _MOST_PREFIXES:
            self._until.popitem(last=False)


class Prompts:
    """A planner, with the prefixes that the calls shown to it have left at Claude."""

    def __init__(self, cost: Cost, *, one_hour: bool = True, prefixes: int = MOST) -> None:
        """`prefixes`: how many of a tenant are remembered."""
        self._cost = cost
        self._prefixes = prefixes
        self._one_hour = one_hour
        self._by_tenant: OrderedDict[str, tuple[Sights, ReplayedPrefixes]] = OrderedDict()
        self._rates: dict[tuple[str, int], Rates | None] = {}

    def used(
        self, seen: ReplayedRequest, model: str, usage: Usage, now: float
    ) -> tuple[Usage, str]:
        """Return the usage of a call with our marks, and the planner's reason.

        Unchanged where the caller set marks, or where Claude had its own steps to bill.
        """
        if usage.iterations or seen.query.body.get("max_tokens") == 0:
            return usage, ""
        if prompt_tokens(usage) != usage.input_tokens or marked_by_caller(seen.query.body):
            return usage, "caller-marked"
        priced = self._rates_of(model, now)
        if priced is None:
            return usage, "unpriced"
        # By what was billed first: laying a prompt out means to hash it.
        if usage.input_tokens < minimum(model) or not seen.layout(model).spots:
            return usage, "too-short"
        sights, kept = self._of(seen.query.tenant.name)
        drafted = self._draft(seen, model, sights, priced, now)
        if not drafted.marks:
            return usage, drafted.reason
        read, short, long = kept.use(drafted.spots, drafted.marks, now)
        marked = _shared_out(usage, drafted.tokens, read, short, long)
        sights.book(begun(drafted), now)
        sights.book(settle(drafted, marked), now)
        return marked, drafted.reason

    def _draft(
        self, seen: ReplayedRequest, model: str, sights: Sights, priced: Rates, now: float
    ) -> Draft:
        layout = seen.layout(model)
        names = [(spot.prefix, f"{spot.root}{spot.kind}", spot.tokens) for spot in layout.spots]
        stats = sights.see(names, now)
        drafted = draft(layout, stats, priced, now=now, one_hour=self._one_hour)
        if drafted.reserved:
            ttls = {drafted.spots[at].prefix: ttl for at, ttl in drafted.marks}
            writes = [(prefix, premium, ttls[prefix]) for prefix, premium in drafted.reserved]
            if not sights.claim(writes, now):
                return draft(layout, stats, priced, now=now, write=False)
        return drafted

    def _of(self, tenant: str) -> tuple[Sights, ReplayedPrefixes]:
        found = self._by_tenant.get(tenant)
        if found is None:
            found = self._by_tenant[tenant] = (Sights(self._prefixes), ReplayedPrefixes())
            if len(self._by_tenant) > _TENANTS:
                self._by_tenant.popitem(last=False)
        self._by_tenant.move_to_end(tenant)
        return found

    def _rates_of(self, model: str, now: float) -> Rates | None:
        key = (model, int(now // 3_600))
        if key not in self._rates:
            if len(self._rates) >= _RATES:
                self._rates.clear()
            self._rates[key] = rates(self._cost, model, now)
        return self._rates[key]


def _shared_out(usage: Usage, estimated: int, read: int, short: int, long: int) -> Usage:
    """The billed tokens by kind, in the proportions of the layout's estimates."""
    scale = usage.input_tokens / estimated if estimated else 0.0
    # Ends are rounded, not lengths, so that the kinds sum to the whole.
    ends = [min(usage.input_tokens, round(end * scale)) for end in (read, read + long)]
    last = min(usage.input_tokens, round((read + long + short) * scale))
    return replace(
        usage,
        input_tokens=usage.input_tokens - last,
        cache_read_tokens=ends[0],
        cache_write_1h_tokens=ends[1] - ends[0],
        cache_write_5m_tokens=last - ends[1],
    )
