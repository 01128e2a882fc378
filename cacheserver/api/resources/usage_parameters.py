"""Parameters of a usage report: range, groups, filters. A bad one is a 400 with its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from cacheserver.core.errors import BadRequest
from cacheserver.core.ledger_row import CAUSES, OUTCOMES, SPENDS
from cacheserver.core.types import Nanodollars
from cacheserver.ledger.time_range import LIFETIME_S, Grain, Tile, align_range, split_range

D = TypeVar("D")

# By what sums can be told apart. Tasks and tags are counted by themselves, by the day.
DIMENSIONS = ("tenant", "key", "model")
EXPANDED = ("cause", "decision")  # every cell has all of them
TIMES: Mapping[str, Grain] = {"minute": "m", "hour": "h", "day": "d"}
ALONE = ("task", "tag")
GROUPS = (*DIMENSIONS, *EXPANDED, *TIMES, *ALONE)

PARAMETERS = frozenset(
    {"from", "to", "group_by", "tenant", "key", "model", "target_usd", "wrong_hit_usd"}
    | set(EXPANDED)
)

# What `cause` and `decision` can name.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "cause": tuple(dict.fromkeys((*CAUSES, *SPENDS))),
    "decision": OUTCOMES,
}

TARGET: Nanodollars = 10_000_000  # a cent a call and a conversation
_DEFAULT_S = 30 * 86_400
_MOST = 3  # groups at once
_UNIX = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class UsageParameters:
    """Validated parameters of a report."""

    start: int  # as covered: Unix seconds, on the grain that is kept
    end: int
    by: tuple[str, ...]
    tenant: str | None
    key: str | None
    model: str | None
    target: Nanodollars
    wrong_price: Nanodollars | None  # None: the operator's
    only: tuple[str, ...] = ()  # of the causes or decisions grouped by; empty: all

    @property
    def tiles(self) -> list[Tile]:
        finest: Grain = "d"
        for group, grain in TIMES.items():
            if group in self.by:
                finest = grain
                break
        return list(split_range(self.start, self.end, finest))


def read(params: Mapping[str, str], now: float) -> UsageParameters:
    """Read a query string. Raises `BadRequest` with the parameter."""
    if unknown := params.keys() - PARAMETERS:
        raise BadRequest(
            min(unknown)[:64], f"is not known here; there are {', '.join(sorted(PARAMETERS))}"
        )
    start, end = span(params, now)
    by = _groups(params.get("group_by", ""))
    begin, until = align_range(start, end, now)
    for group in by:
        if group in TIMES and start < now - LIFETIME_S[TIMES[group]]:
            days = LIFETIME_S[TIMES[group]] // 86_400
            raise BadRequest("from", f"is too far back for `{group}`: that is kept for {days} days")
    if by and by[0] in ALONE:
        begin, until = begin // 86_400 * 86_400, -(-until // 86_400) * 86_400
    return UsageParameters(
        start=begin,
        end=until,
        by=by,
        tenant=params.get("tenant"),
        key=params.get("key"),
        model=params.get("model"),
        target=_usd("target_usd", params.get("target_usd"), TARGET),
        wrong_price=_usd("wrong_hit_usd", params.get("wrong_hit_usd"), None),
        only=_only(params, by),
    )


def span(params: Mapping[str, str], now: float) -> tuple[float, float]:
    """Return `from` and `to`; by default the last 30 days. Raises `BadRequest`."""
    end = time("to", params["to"]) if "to" in params else now
    start = time("from", params["from"]) if "from" in params else end - _DEFAULT_S
    if start >= end:
        raise BadRequest("from", "must be before `to`")
    if end - start > LIFETIME_S["d"]:
        raise BadRequest("from", f"is more than {LIFETIME_S['d'] // 86_400} days before `to`")
    return start, end


def _groups(text: str) -> tuple[str, ...]:
    by = tuple(part.strip() for part in text.split(",") if part.strip())
    for group in by:
        if group not in GROUPS:
            raise BadRequest("group_by", f"{group[:32]!r} is none; there are {', '.join(GROUPS)}")
    if len(set(by)) != len(by) or len(by) > _MOST:
        raise BadRequest("group_by", f"takes at most {_MOST} different ones")
    if len(by) > 1 and (alone := [group for group in by if group in ALONE]):
        raise BadRequest("group_by", f"`{alone[0]}` is counted by itself: give it alone")
    if sum(group in TIMES for group in by) > 1 or {"cause", "decision"} <= set(by):
        raise BadRequest("group_by", "takes one unit of time, and `cause` or `decision`")
    return by


def _only(params: Mapping[str, str], by: tuple[str, ...]) -> tuple[str, ...]:
    """Return the causes or decisions to show."""
    found: tuple[str, ...] = ()
    for field in EXPANDED:
        if field not in params:
            continue
        found = tuple(part.strip() for part in params[field].split(","))
        for name in found:
            if name not in _NAMES[field]:
                allowed = ", ".join(_NAMES[field])
                raise BadRequest(field, f"{name[:32]!r} is none; there are {allowed}")
        if field not in by:
            raise BadRequest(field, f"chooses among the groups of `group_by={field}`")
    return found


def time(field: str, text: str) -> float:
    """Return Unix seconds of a number or ISO 8601; UTC if it has no zone."""
    if _UNIX.fullmatch(text):
        return float(text)
    try:
        found = datetime.fromisoformat(text)
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        at = -1.0
    if not 0 <= at < 1e11:
        raise BadRequest(field, "must be a time: 2026-11-21, 2026-11-21T10:00:00Z or Unix seconds")
    return at


def _usd(field: str, text: str | None, default: D) -> Nanodollars | D:
    if text is None:
        return default
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and 0 <= amount <= 1_000_000):
        raise BadRequest(field, "must be US dollars, 0 or more")
    return round(amount * 1_000_000_000)
