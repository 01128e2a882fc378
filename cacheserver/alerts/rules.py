"""Alert rules: compare the sums of an hour with usual values. Pure.

Usual is the median with its median absolute deviation (MAD), so that one exceptional day does not
hide the next. An alert's id names its subject and the period in which it is raised once.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from cacheserver.calibration.wrong_hit_rate import WrongShare
from cacheserver.core import invisible_characters
from cacheserver.core.rules.alerts import AlertRules
from cacheserver.core.times import iso
from cacheserver.verification.audit_state import AuditState

Kind: TypeAlias = Literal[
    "budget-near", "budget-forecast", "budget-reached",
    "spend", "output-length", "cache-writes", "hit-rate", "cache-reads",
    "wrong-hits", "verification-off", "verification-drift",
    "unsupported", "errors", "unpriced", "downshift", "conversation",
    "upstream", "store-lost", "store-disk", "ledger-disk", "digest", "test",
]  # fmt: skip

Sums: TypeAlias = Mapping[str, int]

_NANO: Final = 1_000_000_000
_MADS: Final = 6.0  # 1.4826 MADs are one sigma of a normal distribution: four sigma
_LEAST_SAMPLES: Final = 5  # of one hour of the day; with fewer, all known hours are compared
_LEAST_HOURS: Final = 24  # before a day is known nothing is unusual


@dataclass(frozen=True, slots=True)
class Alert:
    """Alert, raised once in its period."""

    kind: Kind
    tenant: str
    about: str  # a key, model, task or period; "" for all of the tenant
    period: str  # "2026-01-31": with kind, tenant and `about` it makes the id
    text: str  # for people; never contains a prompt
    facts: Mapping[str, Any] = field(default_factory=dict)
    once_s: int = 86_400  # at least as long as its period

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.tenant}/{self.about}/{self.period}"


@dataclass(frozen=True, slots=True)
class Hour:
    """Sums of an hour and of the hours before it."""

    sums: Sums  # of the hour so far
    before: Mapping[int, Sums]  # by the hour's number since 1970; missing ones had nothing
    number: int  # of this hour since 1970
    day: str  # of this hour, as 2026-01-31


def spend(tenant: str, kind: str, name: str, hour: Hour, rules: AlertRules) -> list[Alert]:
    """Alert on a tenant, model or task that costs several times the usual."""
    now = hour.sums.get("cost", 0)
    usual = _usual(_same_hour(hour, "cost"))
    if usual is None or now < rules.spend_least_usd * _NANO:
        return []
    median, mad = usual
    if now < rules.spend_times * median or now <= median + _MADS * mad:
        return []
    name = clean(name)
    whose = f"Tenant {tenant}" if kind == "tenant" else f"{kind.capitalize()} {name} of {tenant}"
    text = f"{whose} has cost {_usd(now)} in this hour; usual is {_usd(round(median))}."
    facts = {"cost_nanodollars": now, "usual_nanodollars": round(median)}
    return [_daily("spend", tenant, f"{kind}:{name}", hour.day, text, facts)]


def habits(tenant: str, hour: Hour, rules: AlertRules, *, read_ratio: float | None) -> list[Alert]:
    """Alert on longer answers, unread cache writes, fewer hits, failures and unfamiliar questions.

    `hour.sums` are those of the last 60 minutes.
    """
    found: list[Alert] = []
    sums, day = hour.sums, hour.day
    calls, requests = sums.get("calls", 0), sums.get("requests", 0)
    if calls >= rules.least_calls:
        length = sums.get("output", 0) / calls
        usual = _usual(_ratios(hour, _length, rules.least_calls))
        if usual is not None and length > rules.output_times * usual[0] > 0:
            text = f"Answers are {length:.0f} tokens long; usual is {usual[0]:.0f}."
            facts = {"tokens_per_call": round(length), "usual": round(usual[0])}
            found.append(_daily("output-length", tenant, "", day, text, facts))
        found += _prompt_cache(tenant, hour, rules, read_ratio)
    if requests >= rules.least_calls:
        rate = _hits(sums) / requests
        usual = _usual(_ratios(hour, _hit_rate, rules.least_calls))
        if usual is not None and rate < rules.hit_rate_left * usual[0]:
            text = f"{rate:.0%} of requests are answered from the cache; usual is {usual[0]:.0%}."
            rates = {"hit_rate": round(rate, 4), "usual": round(usual[0], 4)}
            found.append(_daily("hit-rate", tenant, "", day, text, rates))
        failed = sums.get("failed", 0) - sums.get("gone", 0)
        if failed > rules.error_share * requests:
            text = f"{failed / requests:.0%} of requests fail."
            facts = {"failed": failed, "requests": requests}
            found.append(_daily("errors", tenant, "", day, text, facts))
    return found + _unsupported(tenant, hour, rules)


def unpriced(tenant: str, models: Mapping[str, Sums], day: str) -> list[Alert]:
    """Alert on models without a price: their cost is in no sum and no budget."""
    found = []
    for model, sums in models.items():
        if sums.get("unpriced", 0):
            name = clean(model) or "a model"
            text = f"There is no price for {name}: what it costs is in no sum and no budget."
            found.append(_daily("unpriced", tenant, name, day, text, {"calls": sums["unpriced"]}))
    return found


def wrong_hits(tenant: str, share: WrongShare | None, target: float, day: str) -> list[Alert]:
    """Alert if enough labels show that more similar hits are wrong than the target allows."""
    if share is None or not share.exceeds(target):
        return []
    text = (
        f"{share.share:.1%} of similar hits were wrong ({share.low:.1%} to {share.high:.1%} by "
        f"{share.labels} labels); the target is {target:.1%}."
    )
    facts = {"share": share.share, "low": share.low, "high": share.high, "target": target}
    return [_daily("wrong-hits", tenant, "", day, text, facts)]


def verification(tenant: str, state: AuditState, target: float | None, now: float) -> list[Alert]:
    """Alert while audits have switched verification off, and when its share of yeses changed."""
    found = []
    if state.off:
        text = (
            f"{state.wrong_hits} of {state.hits} audited verified hits were wrong: verification is "
            "switched off until an operator resets it."
        )
        facts = {"hits": state.hits, "wrong_hits": state.wrong_hits, "target": target}
        found.append(_daily("verification-off", tenant, "", day_name(now), text, facts))
    if state.drifted_at is not None and now - 86_400 < state.drifted_at <= now:
        text = (
            "The verifying model says yes more or less often than before: the model, the answers "
            "or the questions have changed."
        )
        when = iso(state.drifted_at)
        found.append(
            Alert("verification-drift", tenant, "", when, text, {"at": when}, once_s=2 * 86_400)
        )
    return found


def downshifts(tenant: str, rolled_back: Iterable[Mapping[str, Any]], now: float) -> list[Alert]:
    """Alert on cheaper tiers that trials withdrew within a day: their answers no longer agree."""
    return [
        Alert(
            "downshift",
            tenant,
            clean(str(one["task"])),
            iso(one["at"]),
            f"{one['to_model']} no longer agrees with {one['from_model']} on {clean(one['task'])}; "
            f"{one['from_model']} is asked again.",
            {name: one[name] for name in ("agreed", "count", "min_agreement") if name in one},
            once_s=2 * 86_400,
        )
        for one in rolled_back
        if now - 86_400 < one["at"] <= now
    ]


def conversations(tenant: str, bloated: int, day: str) -> list[Alert]:
    """Alert on conversations whose prompts have grown past the limit within a day."""
    if not bloated:
        return []
    some = "A conversation has" if bloated == 1 else f"{bloated} conversations have"
    text = f"{some} grown to four times the first prompt; a window or a summary would cost less."
    facts = {"conversations": bloated}
    return [_daily("conversation", tenant, "", day, text, facts)]


def upstream(tenant: str, failed: int, tries: int, now: float) -> Alert:
    """Return the alert for an open circuit breaker, raised once an hour."""
    text = (
        f"{failed} of the last {tries} calls to Claude failed: it is not asked until a probe "
        "succeeds. Hits are served, misses are refused at once."
    )
    facts = {"failed": failed, "tries": tries}
    return Alert("upstream", tenant, "", iso(now)[:13], text, facts, once_s=2 * 3_600)


def clean(name: str) -> str:
    """Make a caller's name safe for one line of a log."""
    return invisible_characters.line(name[:100])


def day_name(now: float) -> str:
    return iso(now)[:10]


def _prompt_cache(
    tenant: str, hour: Hour, rules: AlertRules, read_ratio: float | None
) -> Iterable[Alert]:
    """Alert on unread or too few reads, for tenants that use Claude's prompt cache."""
    sums, day = hour.sums, hour.day
    writes = sums.get("cache_write_5m", 0) + sums.get("cache_write_1h", 0)
    reads = sums.get("cache_read", 0)
    prompt = writes + reads + sums.get("input", 0)
    if writes + reads == 0:
        return
    facts = {"written": writes, "read": reads, "prompt": prompt}
    if writes > rules.write_share * prompt and reads < writes:
        text = f"{writes / prompt:.0%} of prompt tokens are written to Claude's cache and not read."
        yield _daily("cache-writes", tenant, "", day, text, facts)
    elif read_ratio is not None and reads < read_ratio * prompt:
        text = f"{reads / prompt:.0%} of prompt tokens are read from Claude's cache."
        yield _daily("cache-reads", tenant, "", day, text, facts)


def _unsupported(tenant: str, hour: Hour, rules: AlertRules) -> list[Alert]:
    """Alert on many questions too far from the labels and the prior to be judged."""
    strange, looked = hour.sums.get("unsupported", 0), _looked_up(hour.sums)
    if strange < rules.least_calls:
        return []
    share = strange / looked
    usual = _usual(_ratios(hour, _unsupported_share, rules.least_calls))
    if usual is None or share <= max(rules.unsupported_share, rules.unsupported_times * usual[0]):
        return []
    if share <= usual[0] + _MADS * usual[1]:
        return []
    text = (
        f"{strange} of {looked} questions ({share:.0%}) in the last 60 minutes are unlike all that "
        f"was learned of; usual is {usual[0]:.1%}. Claude answers them. If no product or user is "
        "new, see that callers name the right namespace, and which key sends them."
    )
    facts = {
        "unsupported": strange,
        "looked_up": looked,
        "share": round(share, 4),
        "usual": round(usual[0], 4),
    }
    return [_daily("unsupported", tenant, "", hour.day, text, facts)]


def _daily(
    kind: Kind, tenant: str, about: str, day: str, text: str, facts: Mapping[str, Any]
) -> Alert:
    # Once a day: a condition that lasts for hours is one event.
    return Alert(kind, tenant, about, day, text, facts, once_s=2 * 86_400)


def _same_hour(hour: Hour, name: str) -> Sequence[float]:
    """Return the values of this hour on earlier days; of all hours if few days are known."""
    if not hour.before:
        return ()
    numbers = range(min(hour.before), hour.number)
    same = [at for at in numbers if (hour.number - at) % 24 == 0]
    if len(same) < _LEAST_SAMPLES:
        same = list(numbers) if len(numbers) >= _LEAST_HOURS else []
    return [hour.before.get(at, {}).get(name, 0) for at in same]


def _ratios(hour: Hour, ratio: Any, least: int) -> Sequence[float]:
    return [found for sums in hour.before.values() if (found := ratio(sums, least)) is not None]


def _length(sums: Sums, least: int) -> float | None:
    calls = sums.get("calls", 0)
    return sums.get("output", 0) / calls if calls >= least else None


def _hit_rate(sums: Sums, least: int) -> float | None:
    requests = sums.get("requests", 0)
    return _hits(sums) / requests if requests >= least else None


def _unsupported_share(sums: Sums, least: int) -> float | None:
    looked = _looked_up(sums)
    return sums.get("unsupported", 0) / looked if looked >= least else None


def _looked_up(sums: Sums) -> int:
    """Return the number of semantic lookups: requests without an exact hit."""
    return sums.get("semantic", 0) + sums.get("miss", 0)


def _hits(sums: Sums) -> int:
    return sum(sums.get(kind, 0) for kind in ("exact", "semantic", "coalesced", "stale"))


def _usual(values: Sequence[float]) -> tuple[float, float] | None:
    """Return median and MAD; None with too few values."""
    if len(values) < _LEAST_SAMPLES:
        return None
    median = statistics.median(values)
    return median, statistics.median(abs(value - median) for value in values)


def _usd(nano: int) -> str:
    return f"${nano / _NANO:,.2f}"
