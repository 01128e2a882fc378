"""Live settings: through the front door, on two servers, and after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cacheserver.api.components import Components
from cacheserver.config.live_settings import LIVE
from cacheserver.live.follower import EVERY_S
from cacheserver.storage.connection import Connection, command
from tests.api.admin import ADMIN, put
from tests.house import MODEL, House

NANO = 1_000_000_000

# Each live setting: a value, and where the server uses it.
USES: dict[str, tuple[Any, Callable[[Components], Any], Any]] = {
    "default_ttl_s": (7, lambda p: p.tenants.fresh("a").default_ttl_s, 7),
    "max_ttl_s": (70_000, lambda p: p.tenants.fresh("a").max_ttl_s, 70_000),
    "target": (0.02, lambda p: p.tenants.fresh("a").bar.target, 0.02),
    "similarity": (0.9, lambda p: p.tenants.fresh("a").bar.similarity, 0.9),
    "top_k": (3, lambda p: p.tenants.fresh("a").bar.top_k, 3),
    "audit_usd_per_day": (2, lambda p: p.calibration.learner._auditor.cap, 2 * NANO),
    "judge_usd_per_day": (2, lambda p: p.calibration.judge.judging.cap, 2 * NANO),
    "judge_share": (0.7, lambda p: p.calibration.judge.share, 0.7),
    "wrong_hit_usd": (3, lambda p: (p.wrong_hit_cost, p.alerts.wrong_price), (3 * NANO,) * 2),
    "compare_with": (MODEL, lambda p: p.tenants.fresh("a").compare_with, MODEL),
    "max_waiting": (9, lambda p: p.upstream.slots.max_waiting, 9),
    "max_wait_s": (9, lambda p: p.upstream.slots.max_wait_s, 9),
    "retries": (7, lambda p: p.upstream.retries, 7),
    "retry_wait_s": (7, lambda p: p.upstream.retry_wait_s, 7),
    "store_wait_s": (9, lambda p: p.host.settings.store_wait_s, 9),
    "index": ("vector-sets", lambda p: p.index_move._wanted, "vector-sets"),
    "index_bytes": ("20MB", lambda p: p.host.answers.index_limit.bytes, 20_000_000),
    "max_bytes": ("20MB", lambda p: (p.entries.entries.max_bytes, p.sizes.limits["answers"]),
                  (20_000_000,) * 2),
    "max_decision_bytes": (10**7, lambda p: p.decision_log.max_bytes, 10**7),
    "max_ledger_bytes": ("unlimited", lambda p: p.sizes.limits["ledger"], None),
    "max_job_bytes": (10**7, lambda p: p.batches._context.jobs.max_bytes, 10**7),
    "max_label_bytes": (10**7, lambda p: p.labels.max_bytes, 10**7),
    "verify_usd_per_day": (3, lambda p: p.verification.call.cap, 3 * NANO),
    "verify_key_share": (0.2, lambda p: p.verification.call.key_share, 0.2),
    "verify_timeout_s": (2, lambda p: p.verification.verifier.options.timeout_s, 2),
    "verify_max_tokens": (500, lambda p: p.verification.verifier.options.most_tokens, 500),
    "verify_audit_share": (0.5, lambda p: p.verification.verifier.options.audit_share, 0.5),
    "max_body_bytes": ("2MB", lambda p: p.host.settings.max_body_bytes, 2 * 10**6),
    "max_upload_bytes": ("2MB", lambda p: p.host.settings.max_upload_bytes, 2 * 10**6),
    "log_level": ("error", lambda p: logging.getLogger("cacheserver").level, logging.ERROR),
    "access_log": ("on", lambda p: p.host.settings.access_log, "on"),
}  # fmt: skip


async def listed(house: House) -> dict[str, dict[str, Any]]:
    got = await house.http.get("/admin/v1/settings", headers=ADMIN)
    assert got.status_code == 200, got.text
    return {one["name"]: one for one in got.json()["settings"]}


@pytest.fixture(autouse=True)
def level() -> Any:
    logger = logging.getLogger("cacheserver")
    before = logger.level
    yield
    logger.setLevel(before)


def test_every_live_setting_has_a_test() -> None:
    assert set(USES) == set(LIVE)


async def test_every_live_setting_is_in_force_at_once_and_null_takes_it_back(house: House) -> None:
    before = await listed(house)
    for name, (value, used, expected) in USES.items():
        was = used(house.parts)
        await put(house, "settings", **{name: value})
        assert used(house.parts) == expected, name
        assert (await listed(house))[name]["origin"] == "admin"
        await put(house, "settings", **{name: None})
        if name != "log_level":  # pytest has set that of the test's own
            assert used(house.parts) == was, name
    assert await listed(house) == before


async def test_settings_are_listed_with_their_origin_and_no_secret(house: House) -> None:
    found = await listed(house)
    assert found["anthropic_api_key"]["value"] == "(set)"
    assert "sk-ant" not in str(found)
    assert found["similarity"]["origin"] == "start"
    assert found["top_k"] | {"help": "", "why": ""} == {
        "name": "top_k", "variable": "CACHESERVER_TOP_K", "value": 10, "base_value": 10,
        "default": 10, "origin": "default", "live": True, "live_least": None, "help": "", "why": "",
        "choices": None,
    }  # fmt: skip
    assert found["log_level"]["choices"] == ["debug", "info", "warning", "error"]
    assert not found["port"]["live"]
    assert not found["ledger_file_days"]["live"]  # rows are deleted by it
    assert found["max_bytes"]["live_least"] == 10_000_000


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"port": 1}, "port", "restart"),
        ({"top_kk": 1}, "top_kk", "known: top_k"),
        ({"top_kk": None}, "top_kk", "known: top_k"),
        ({"top_k": 0}, "top_k", "greater than or equal to 1"),
        ({"top_k": True}, "top_k", "must be a number or a text"),
        ({"top_k": [1]}, "top_k", "must be a number or a text"),
        ({"max_bytes": "much"}, "max_bytes", "valid integer"),
        ({"default_ttl_s": 9_999_999}, "default_ttl_s", "is above"),
        ({"log_level": "loud"}, "log_level", "'debug'"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_name_and_nothing_changes(
    house: House, given: dict[str, Any], field: str, said: str
) -> None:
    got = await house.http.put("/admin/v1/settings", headers=ADMIN, json={"retries": 1, **given})
    assert got.status_code == 400
    message = got.json()["error"]["message"]
    assert message.startswith(f"`{field}`")
    assert said in message
    assert (await listed(house))["retries"]["origin"] == "default"


async def test_a_live_limit_holds_for_the_next_request(house: House) -> None:
    await put(house, "settings", max_body_bytes="2MiB", default_ttl_s=0)
    long = "x" * (2 * 1024**2)
    assert (await house.ask(long)).status_code == 413
    assert (await house.ask()).headers["x-cache"] == "miss"
    assert (await house.ask()).headers["x-cache"] == "miss"  # it was not stored
    await put(house, "settings", max_body_bytes=None, default_ttl_s=None)
    assert (await house.ask(long)).status_code == 200
    await house.ask()
    assert (await house.ask()).headers["x-cache"] == "exact"


async def test_requests_are_logged_from_the_change_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cacheserver.access")
    await house.ask()
    assert "POST /v1/messages" not in caplog.text
    await put(house, "settings", access_log="on")
    await house.ask()
    assert "POST /v1/messages" in caplog.text


async def test_another_server_follows_and_a_restart_begins_with_the_change(
    tmp_path: Path, url: str, prefix: str
) -> None:
    shared: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[1:]}
    async with (
        House.open(tmp_path / "one", **shared) as one,
        House.open(tmp_path / "two", **shared) as two,
    ):
        changed = asyncio.Event()
        two.parts.live.settings.listen(lambda now: changed.set() if now.retries == 5 else None)
        await put(one, "settings", retries=5)
        async with asyncio.timeout(EVERY_S + 5):
            await changed.wait()
        assert two.parts.upstream.retries == 5
    async with House.open(tmp_path / "one", **shared) as again:
        assert again.parts.upstream.retries == 5
        assert (await listed(again))["retries"]["origin"] == "admin"


async def test_what_another_version_stored_is_left_out_and_counted(
    tmp_path: Path, url: str, prefix: str, redis: Connection
) -> None:
    stored = b'{"retries": 4, "of_tomorrow": 1, "top_k": 1000}'
    await command(redis, "HSET", f"{prefix[1:]}live", "settings", stored)
    async with House.open(tmp_path, redis_url=url, redis_prefix=prefix[1:]) as house:
        assert house.parts.upstream.retries == 4
        found = await listed(house)
        assert (found["retries"]["origin"], found["top_k"]["origin"]) == ("admin", "default")
        metrics = (await house.http.get("/metrics", headers=ADMIN)).text
        assert 'cacheserver_swallowed_total{site="live-settings"} 1.0' in metrics
        await put(house, "settings", retries=3)
        kept = await command(redis, "HGET", f"{prefix[1:]}live", "settings")
        assert b"of_tomorrow" in kept  # by the version that knows it


async def test_a_change_is_in_the_audit_trail_and_needs_the_role_all(house: House) -> None:
    made = await house.http.post(
        "/admin/v1/admin-keys", headers=ADMIN, json={"name": "ann", "role": "tune"}
    )
    tune = {"x-api-key": made.json()["key"]}
    refused = await house.http.put("/admin/v1/settings", headers=tune, json={"retries": 1})
    assert refused.status_code == 403
    await put(house, "settings", retries=1)
    got = await house.http.get("/admin/v1/audit-trail", headers=ADMIN)
    assert got.json()["items"][0]["changes"] == {"retries": {"before": None, "after": 1}}
