"""No route shows a text of a tenant without content but to who asked; each says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cacheserver.passthrough.rules import OWNED
from tests.erasure.helpers import ADMIN, in_store, marker, store_of
from tests.guesses import known
from tests.house import House
from tests.nocontent.traffic import (
    asked,
    fill_more,
    guess,
    texts,
    without_content,
)

# Routes that give a caller what it asked for itself, if later.
OWN = ("/v1/jobs/{id}", "/v1/jobs/{id}/events", "/v1/messages/batches/{id}/results")
# Claude's own; audits, imports and what is kept at Claude, of which there are none; and counts, as
# long as one listens.
OTHER = (
    *("/v1/models", "/v1/models/{id}", "/admin/v1/live"),
    *("/admin/v1/audits/{id}", "/admin/v1/audits/{id}/page"),
    "/admin/v1/imports/{tenant}/{id}",
    *(f"/v1/{kind}{end}" for kind in OWNED for end in ("/{id}", "/{id}/{part}")),
)
# Routes that show texts of an ordinary tenant: of each it is proven that it does.
SHOWING = {
    "/admin/v1/tenants/{name}/decisions/{id}",
    "/admin/v1/labels/queue",
    "/admin/v1/labels/export",
    "/admin/v1/routing/{tenant}/gold/{task}",
    "/admin/v1/decisions",
    "/admin/v1/near-misses",
    "/admin/v1/scopes",
    "/v1/decisions",
    "/v1/decisions/{id}",
    "/v1/conversations/{name}",
    "/v1/entries",
    "/v1/entries/{id}",
    "/admin/v1/entries",
    "/admin/v1/entries/{tenant}/{id}",
}


async def shows(
    house: House, tenant: str, who: str, key: str, ids: Mapping[str, str]
) -> dict[str, bytes]:
    """Return what every route that reads gives of a tenant, by its path in the description."""
    described = (await house.http.get("/openapi.json")).json()["paths"]
    found: dict[str, bytes] = {}
    for path, operations in described.items():
        if "get" not in operations or path in (*OWN, *OTHER):
            continue
        talks = "/conversations/" in path
        id = next(
            (ids[kind] for kind in ("decision", "job", "batch", "entries") if kind in path), ""
        )
        named = {"tenant": tenant, "task": "summary", "id": id, "scope": "0" * 64}
        named["name"] = f"talk-{who}" if talks else tenant
        admin = path.startswith(("/admin", "/metrics"))
        asked = {"namespace": f"space-{who}"} if talks else {"tenant": tenant} if admin else {}
        headers = ADMIN if admin else {"x-api-key": key}
        got = await house.http.get(path.format(**named), headers=headers, params=asked)
        assert got.status_code in (200, 400, 409), (path, got.text)
        found[path] = got.content
    return found


async def near(house: House, who: str, key: str) -> tuple[str, str]:
    """The id of a decision that a stored question of `who` came near to, and that of its answer."""
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    asked = await house.ask(f"WHERE is {marker(who, 'message')} made", headers=names)
    assert asked.headers["x-cache"] == "semantic"
    return asked.headers["x-cache-decision"], asked.headers["x-cache-entry"]


async def test_no_route_shows_a_text_but_what_a_caller_asked_for_itself(house: House) -> None:
    found: dict[str, dict[str, bytes]] = {}
    for tenant, who in (("plain", "ann"), ("sealed", "bob")):
        whole = tenant == "sealed"
        key = await without_content(house, tenant) if whole else await house.key(tenant)
        allowed = {"keys_read_content": True}
        await house.http.put(f"/admin/v1/tenants/{tenant}", headers=ADMIN, json=allowed)
        ids = await fill_more(house, who, key)
        ids["decision"], ids["entries"] = await near(house, who, key)
        await house.parts.decision_log.flush()
        found[tenant] = await shows(house, tenant, who, key, ids)
        own = await house.http.get(f"/v1/jobs/{ids['job']}", headers={"x-api-key": key})
        assert marker(who, "job") in own.text
    assert {path for path, got in found["plain"].items() if texts("ann", got)} == SHOWING
    assert {path for path, got in found["sealed"].items() if texts("bob", got)} == set()
    for path in SHOWING:  # what is not there is said to be kept back, and is no empty text
        assert (
            b"no-content" in found["sealed"][path] or b"keeps no content" in found["sealed"][path]
        )


async def test_there_is_no_review_queue_and_it_is_said_why(house: House) -> None:
    key = await without_content(house, "sealed")
    asked = await house.ask(key=key)
    fields = {"verdict": "good", "entry_id": asked.headers["x-cache-entry"]}
    told = await house.http.post("/v1/feedback", json=fields, headers={"x-api-key": key})
    assert (told.status_code, told.json()["reason"]) == (200, "no-content")
    assert await house.parts.calibration.reviews.items("sealed", after=None, limit=10) == []
    tried = [
        await house.http.get("/admin/v1/labels/queue?tenant=sealed", headers=ADMIN),
        await house.http.get("/admin/v1/labels/export?tenant=sealed", headers=ADMIN),
        await house.http.post(
            "/admin/v1/labels/import?tenant=sealed", content=b"{}", headers=ADMIN
        ),
    ]
    for refused in tried:
        assert refused.status_code == 409
        assert refused.headers["x-cache-reason"] == "no-content"
    bad = {"verdict": "bad", "entry_id": asked.headers["x-cache-entry"]}
    told = await house.http.post("/v1/feedback", json=bad, headers={"x-api-key": key})
    assert told.json()["done"] == "evicted"


async def test_a_dry_run_names_no_question_and_guesses_nothing(house: House) -> None:
    found = {}
    for tenant in ("plain", "sealed"):
        whole = tenant == "sealed"
        key = await without_content(house, tenant) if whole else await house.key(tenant)
        await house.ask("How do I reset my password?", key=key)
        near = await house.ask("how do I reset my password", key=key)
        assert near.headers["x-cache"] == "semantic"
        tried = []
        for bar in ({"similarity": 1.0}, {"exact_only": True}):
            got = await house.http.put(
                f"/admin/v1/tenants/{tenant}/bars",
                json={"bar": bar, "dry_run": True},
                headers=ADMIN,
            )
            tried.append(got.json()["would_have"])
        found[tenant] = tried
    for plain in found["plain"]:
        assert plain["replayed"]["untold"] == 0
        assert "withheld" not in plain
    assert found["plain"][1]["questions"]["items"][0]["asked"] is not None
    for sealed in found["sealed"]:
        assert sealed["withheld"] == "no-content"
    assert found["sealed"][0]["replayed"]["untold"] == 1  # a veto would have to be read anew
    ends = found["sealed"][1]["questions"]["items"][0]
    assert (ends["change"], ends["asked"], ends["question"]) == ("ends", None, None)


async def test_answers_are_carried_over_and_not_named(house: House, tmp_path: Path) -> None:
    body = {**asked("Who are you?"), "system": "You are the second clerk."}
    space = {"x-cache-namespace": "space-ann"}
    key = await without_content(house, "sealed")
    for day in ("first", "second"):
        for _ in range(5):
            system = f"You are the {day} clerk."
            await house.ask("Who are you?", key=key, system=system, headers=space)
            house.clock.ahead_s += 60
    await house.parts.prompt_caching.writes.drain()
    shown = await house.http.get("/admin/v1/prompts/sealed/versions", headers=ADMIN)
    new, old = (one["digest"] for one in shown.json()[0]["versions"])
    fields = {"namespace": "space-ann", "from": old, "to": new}
    tried = await house.http.post(
        "/admin/v1/prompts/sealed/carry-over", json={**fields, "dry_run": True}, headers=ADMIN
    )
    told = tried.json()
    assert (told["found"], told["withheld"]) == (1, "no-content")
    assert [one["question"] for one in told["questions"]] == [None]
    made = await house.http.post(
        "/admin/v1/prompts/sealed/carry-over",
        json={**fields, "dry_run": False},
        headers=ADMIN,
    )
    assert made.json()["carried"] == 1
    copied = guess(house, await house.parts.tenants.settings("sealed"), "ann", body, actor=False)
    redis = await store_of(tmp_path / "data")
    try:
        kept = await in_store(redis)
    finally:
        await redis.aclose()
    assert copied.scope.encode() in kept
    assert "copy" not in known(copied, copied, kept)
