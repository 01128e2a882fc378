"""Live settings that would shut people out, delete, or hold only in part: refused, or undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from cacheserver.config import live_settings
from cacheserver.config.settings import Settings
from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.live.documents import LiveDocuments
from cacheserver.live.follower import LiveFollower
from cacheserver.storage.connection import Connection, command
from tests.api.admin import ADMIN, put
from tests.house import House
from tests.live.test_live_settings import listed

KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
TOGETHER = {"default_ttl_s": 30, "max_ttl_s": 60}  # hold together, and not the maximum alone
BASE = Settings()


async def refused(house: House, path: str, **fields: Any) -> str:
    got = await house.http.put(f"/admin/v1/{path}", headers=ADMIN, json=fields)
    assert got.status_code == 400, got.text
    return str(got.json()["error"]["message"])


async def counted(house: House, site: str) -> bool:
    metrics = (await house.http.get("/metrics", headers=ADMIN)).text
    return f'cacheserver_swallowed_total{{site="{site}"}}' in metrics


async def stored(redis: Connection, prefix: str, name: str, value: Mapping[str, Any]) -> None:
    await command(redis, "HSET", f"{prefix[1:]}live", name, orjson.dumps(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_body_bytes", 10),
        ("max_bytes", 1),
        ("max_bytes", "2MB"),
        ("max_decision_bytes", 1),
        ("max_ledger_bytes", 1),
        ("max_job_bytes", 1),
        ("max_label_bytes", 1),
        ("store_wait_s", 0.001),
        ("ledger_file_days", 1),
    ],
)
async def test_a_value_that_would_delete_or_shut_out_is_refused(
    house: House, name: str, value: Any
) -> None:
    await house.ask()
    assert (await refused(house, "settings", **{name: value})).startswith(f"`{name}`")
    assert (await house.ask()).headers["x-cache"] == "exact"


async def test_an_admins_body_is_read_whatever_the_limit_is(tmp_path: Path) -> None:
    async with House.open(tmp_path, max_body_bytes=10) as house:
        assert (await house.ask()).status_code == 413
        await put(house, "settings", retries=1)
        got = await house.http.post("/admin/session", json={"key": "an-admin-key-for-tests"})
        assert got.status_code < 300, got.text
        large = {"prices": {"m": {"x" * 2 * 1024**2: 1}}}
        got = await house.http.put("/admin/v1/prices", headers=ADMIN, json=large)
        assert got.status_code == 413


async def test_a_server_can_start_without_the_changes_and_undo_them(
    tmp_path: Path, url: str, prefix: str
) -> None:
    shared: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[1:]}
    async with House.open(tmp_path, **shared) as house:
        await put(house, "settings", retries=5)
    async with House.open(tmp_path, live_settings="ignore", **shared) as house:
        assert house.parts.upstream.retries == 2
        got = await house.http.get("/admin/v1/settings", headers=ADMIN)
        assert got.json()["not_in_force"] == {"retries": 5}
        assert (await listed(house))["retries"]["origin"] == "default"
        said = await refused(house, "settings", retries=4)
        assert "CACHESERVER_LIVE_SETTINGS" in said
        assert (await put(house, "settings", retries=None))["not_in_force"] == {}
    async with House.open(tmp_path, **shared) as house:
        assert house.parts.upstream.retries == 2


async def test_verification_without_a_price_is_refused_and_never_stops_a_start(
    tmp_path: Path, url: str, prefix: str, redis: Connection
) -> None:
    options: dict[str, Any] = {
        "redis_url": url,
        "redis_prefix": prefix[1:],
        "verify_model": "claude-new",
        "verify_usd_per_day": 0,
    }
    async with House.open(tmp_path, **options) as house:
        said = await refused(house, "settings", verify_usd_per_day=1)
        assert said.startswith("`verify_usd_per_day`")
    # A server with another model has taken it.
    await stored(redis, prefix, "settings", {"verify_usd_per_day": 1})
    async with House.open(tmp_path, **options) as house:
        assert house.parts.verification is not None
        call = house.parts.verification.call
        assert call.cap == 0
        assert await counted(house, "verify-price")
        await put(house, "settings", retries=1)  # what is wrong already holds up nothing else
        await put(house, "prices", prices={"claude-new": dict.fromkeys(KINDS, 1)})
        assert call.cap == 1_000_000_000
        said = await refused(house, "prices", prices={"claude-new": None})
        assert said.startswith("`claude-new`")
        assert "`verify_usd_per_day`" in said
        await put(house, "settings", verify_usd_per_day=None)
        await put(house, "prices", prices={"claude-new": None})


async def test_a_model_to_compare_with_needs_a_price(house: House) -> None:
    said = await refused(house, "settings", compare_with="claude-new")
    assert said.startswith("`compare_with`")
    await put(house, "prices", prices={"claude-new": dict.fromkeys(KINDS, 1)})
    await put(house, "settings", compare_with="claude-new")
    said = await refused(house, "prices", prices={"claude-new": None})
    assert "`compare_with`" in said


@pytest.mark.parametrize("names", list(permutations(TOGETHER)))
async def test_values_that_hold_together_are_in_force_in_any_order(
    house: House, names: tuple[str, ...]
) -> None:
    await put(house, "settings", **{name: TOGETHER[name] for name in names})
    tenant = house.parts.tenants.fresh("a")
    assert {name: getattr(tenant, name) for name in names} == TOGETHER


@pytest.mark.parametrize("names", list(permutations(("default_ttl_s", "max_ttl_s", "of_tomorrow"))))
def test_what_does_not_hold_takes_nothing_else_with_it(names: tuple[str, ...]) -> None:
    document = {name: {**TOGETHER, "of_tomorrow": 1}[name] for name in names}
    assert live_settings.readable(BASE, document) == TOGETHER


def test_a_change_that_would_bring_another_into_force_is_refused() -> None:
    before = {"default_ttl_s": 9_000_000}  # above the maximum of this server
    with pytest.raises(BadRequest, match="`default_ttl_s`: is stored"):
        live_settings.merged(BASE, before, {"max_ttl_s": 10_000_000})
    both = live_settings.merged(BASE, before, {"max_ttl_s": 10_000_000, "default_ttl_s": 5})
    assert both == {"max_ttl_s": 10_000_000, "default_ttl_s": 5}


async def test_a_bar_is_decided_by_what_was_set_last(house: House) -> None:
    def bar() -> tuple[float | None, float | None]:
        found = house.parts.tenants.fresh("a").bar
        return found.similarity, found.target

    await put(house, "settings", similarity=0.9)
    assert bar() == (0.9, None)
    await put(house, "settings", target=0.02)
    assert bar() == (None, 0.02)
    await put(house, "settings", similarity=0.8)
    assert bar() == (0.8, None)
    assert (await listed(house))["target"]["origin"] == "default"
    said = await refused(house, "settings", target=0.02, similarity=0.9)
    assert said.startswith("`similarity`")
    await put(house, "settings", similarity=None)
    assert bar() == (0.95, None)  # of the environment


async def test_a_change_is_reported_though_the_store_fails_behind_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: LiveDocuments) -> Mapping[str, bytes]:
        raise StoreError("away")

    monkeypatch.setattr(LiveDocuments, "read", fails)
    await put(house, "settings", retries=1)
    assert house.parts.upstream.retries == 1
    await put(house, "prices", prices={"claude-haiku-5-5": {"input": 3}})
    trail = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"]
    assert trail[1]["changes"] == {"retries": {"before": None, "after": 1}}


async def test_one_part_that_fails_leaves_no_other_behind(house: House) -> None:
    live, seen, failing = house.parts.live.settings, list[int](), True

    def fails(now: Settings) -> None:
        if failing and now.retries == 5:
            raise RuntimeError

    live.listen(fails)
    live.listen(lambda now: seen.append(now.retries))
    await put(house, "settings", retries=5)
    assert seen[-1] == house.parts.upstream.retries == 5
    assert await counted(house, "live-settings")
    told = len(seen)
    live.take(b'{"retries":5}')  # the next round of the follower tries again
    assert len(seen) == told + 1
    failing = False
    live.take(b'{"retries":5}')
    live.take(b'{"retries":5}')
    assert len(seen) == told + 2


class _Taken:
    name = "settings"

    def __init__(self) -> None:
        self.taken: list[bytes | None] = []

    def take(self, raw: bytes | None) -> None:
        self.taken.append(raw)


async def test_what_was_read_before_a_change_is_not_put_into_force_after_it(
    redis: Connection, prefix: str
) -> None:
    class Slow(LiveDocuments):
        meanwhile: Callable[[], Any] | None = None

        async def read(self) -> Mapping[str, bytes]:
            found = await super().read()
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            return found

    documents, taken = Slow(redis, prefix=prefix), _Taken()
    follower = LiveFollower(documents, [taken], lambda site: None)
    documents.meanwhile = lambda: documents.change("settings", lambda was: {"retries": 1})
    await follower.follow()  # reads again
    assert taken.taken == [b'{"retries":1}']
    elsewhere = LiveDocuments(redis, prefix=prefix)

    async def followed() -> None:
        await elsewhere.change("settings", lambda was: {"retries": 2})
        await follower.follow()  # as it is told of the change

    documents.meanwhile = followed
    await follower.follow()  # began before
    assert taken.taken[1:] == [b'{"retries":2}']


async def test_a_document_has_a_bound(redis: Connection, prefix: str) -> None:
    documents = LiveDocuments(redis, prefix=prefix)
    with pytest.raises(BadRequest, match="bytes in all"):
        await documents.change("settings", lambda was: {"a": "x" * 300_000})
    assert await documents.read() == {}
