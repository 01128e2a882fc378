"""When a listed prefix is due, and what is asked."""

from __future__ import annotations

import pytest

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.caching import Warm
from cacheserver.core.types import Tenant
from cacheserver.promptcache.planner import LIFETIME_S, MARGIN_S
from cacheserver.promptcache.prewarm_rules import TICK_S, body, every_s, slot
from cacheserver.tenants import tenant_json

MIDNIGHT = 86_400.0 * 20_000
HOUR = 3_600.0
WARM = Warm("support", "claude-haiku-5-5", "Be kind.")


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_two_calls_are_never_a_lifetime_apart(ttl: str) -> None:
    warm = Warm("support", "claude-haiku-5-5", "Be kind.", ttl=ttl)  # type: ignore[arg-type]
    assert every_s(warm) + 2 * TICK_S < LIFETIME_S[warm.ttl] - MARGIN_S


def test_each_slot_of_time_has_a_number() -> None:
    first = slot(WARM, MIDNIGHT)
    assert first is not None
    assert slot(WARM, MIDNIGHT + every_s(WARM)) == first + 1


@pytest.mark.parametrize(
    ("hours", "due"),
    [((8, 18), [8, 17]), ((22, 6), [22, 23, 0, 5]), ((0, 24), [0, 23])],
)
def test_hours_bound_the_day_over_midnight_too(hours: tuple[int, int], due: list[int]) -> None:
    warm = Warm("a", "m", "s", from_hour=hours[0], to_hour=hours[1])
    found = [hour for hour in range(24) if slot(warm, MIDNIGHT + hour * HOUR) is not None]
    assert set(due) <= set(found)
    assert len(found) == (hours[1] - hours[0]) % 24 or hours == (0, 24)


def test_nothing_is_due_from_its_end_on() -> None:
    warm = Warm("a", "m", "s", until=MIDNIGHT)
    assert slot(warm, MIDNIGHT - 1) is not None
    assert slot(warm, MIDNIGHT) is None


def test_nothing_is_sent_that_claude_refuses_with_it() -> None:
    asked = body(Warm("a", "m", "s", tools=({"name": "look", "input_schema": {}},)))
    assert asked.keys() == {"model", "max_tokens", "tools", "system", "messages"}
    assert asked["max_tokens"] == 0


def test_the_rules_are_read_from_a_tenants_settings() -> None:
    given = {"prewarm": [{"name": "a", "model": "m", "system": "s", "ttl": "1h"}], "wait_ms": 0}
    tenant = tenant_json.change("acme", {}, {"caching": given}, Tenant("default")).tenant
    assert tenant.caching.prewarm == (Warm("a", "m", "s", ttl="1h"),)
    record = tenant_json.encode(tenant_json.changes(Tenant("default"), tenant))
    assert tenant_json.decode("acme", record, Tenant("default")).tenant == tenant


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"wait_ms": 30_001}, "caching.wait_ms"),
        ({"read_ratio_alert": 1.5}, "caching.read_ratio_alert"),
        ({"ignore_in_scope": ["weather"]}, "caching.ignore_in_scope.0"),
        ({"prewarm": [{"name": "a", "model": "m", "system": ""}]}, "caching.prewarm.0.system"),
        ({"prewarm": [{"name": "a b", "model": "m", "system": "s"}]}, "caching.prewarm.0.name"),
    ],
)
def test_a_rule_that_will_not_do_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("acme", {}, {"caching": given}, Tenant("default"))
    assert named in str(refused.value)
