"""A tenant without content: nothing it said can be read or guessed from what is kept, or is shown.

Each look through all that is kept finds the same of an ordinary tenant, so that it can fail.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver import jsontext
from cacheserver.errors import SettingsError
from cacheserver.policy import fingerprint
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from cacheserver.stores.child import find_server
from cacheserver.stores.connection import connect
from cacheserver.types import Controls, Query, Tenant, Usage
from tests.batches.house import QUICK, BatchHouse, item
from tests.erasure import ADMIN, PIECES, echo, ended, fill, in_files, in_store, marker, store_of
from tests.guesses import known
from tests.house import MODEL, House, came_from
from tests.stores.conftest import serving

# What a guesser finds of an ordinary tenant, so that the search is one.
GUESSED = {
    "fingerprint",
    "scope",
    "actor",
    "skeleton",
    "fragment-0",
    "rest",
    "turn-0",
    "turns-2",
    "request",
}
ALL_PIECES = (*PIECES, "system", "first", "levers", "gold", "long", "longer", "longest")
# Routes that give a caller what it asked for itself, if later.
OWN = ("/v1/jobs/{id}", "/v1/jobs/{id}/events", "/v1/messages/batches/{id}/results")
# Routes that show texts of an ordinary tenant: of each it is proven that it does.
SHOWING = {
    "/admin/tenants/{name}/decisions/{id}",
    "/admin/tenants/{name}/reviews",
    "/admin/tenants/{name}/reviews/export",
    "/admin/routing/{tenant}/gold/{task}",
    "/v1/decisions/{id}",
    "/v1/conversations/{name}",
}


def key_file(folder: Path) -> Path:
    path = folder / "master.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A house that encrypts; its data directory is `folder / "data"`."""
    settings = {"encryption_key_file": key_file(folder), "claude": echo, "pace": QUICK, **settings}
    async with House.open(folder / "data", **settings) as house:
        yield house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as house:
        yield house


async def put(house: House, tenant: str, **fields: Any) -> httpx2.Response:
    return await house.http.put(f"/admin/tenants/{tenant}", json=fields, headers=ADMIN)


async def without_content(house: House, tenant: str) -> str:
    """A key of a new tenant that keeps no content."""
    made = await put(house, tenant, no_content=True)
    assert made.status_code == 200, made.text
    return await house.key(tenant)


def system_of(who: str) -> str:
    """A system prompt long enough for Claude's prompt cache, with a fragment in it."""
    day = 10 + sum(who.encode()) % 18  # another one for each: fragments are found one by one
    rules = f"You answer for {marker(who, 'system')}. Today is 2026-11-{day}. "
    return rules + "Be brief, be right, be kind, and say so where you do not know. " * 150


def talk_of(who: str) -> dict[str, Any]:
    """A request that the levers look at: routed, with a history and a system prompt."""
    return {
        "model": "auto",
        "max_tokens": 100,
        "system": system_of(who),
        "messages": [
            {"role": "user", "content": f"Hi from {marker(who, 'first')}."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": f"Who is {marker(who, 'levers')}?"},
        ],
        "metadata": {"user_id": f"{who}@example.com"},
    }


def long_of(who: str) -> dict[str, Any]:
    """The last request of a conversation whose first exchange is left out."""
    asked = [
        f"Which harbour is called {marker(who, 'long')}?",
        f"How deep does {marker(who, 'longer')} lie?",
        f"List the ships in {marker(who, 'longest')}.",
    ]
    turns = [{"role": "user", "content": said} for said in asked]
    told = [{"role": "assistant", "content": f"It is about {said}"} for said in asked]
    messages = [turns[0], told[0], turns[1], told[1], turns[2]]
    return {"model": "auto", "max_tokens": 100, "messages": messages}


def asked(text: str) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}


def small_of(who: str) -> dict[str, Any]:
    """The short question that `fill` begins with."""
    return asked(f"Where is {marker(who, 'message')} made?")


async def fill_more(house: House, who: str, key: str) -> dict[str, str]:
    """All of `fill`, what the levers keep, a bad verdict and a gold set; the ids of it."""
    ids = await fill(house, who, key)
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    for _ in range(2):
        said = await house.http.post("/v1/messages", json=talk_of(who), headers=names)
        assert said.status_code == 200, said.text
    tenant = await tenant_of(house, key)
    kept = await put(house, tenant, history={"how": "summary", "keep": 1, "step": 1})
    assert kept.status_code == 200, kept.text
    house.parts.tenants.forget(tenant)
    for turn in long_of(who)["messages"][::2]:  # the first exchange is summed up
        fields = {"prompt": turn["content"], "conversation": f"long-{who}"}
        told = await house.http.post("/v1/query", json=fields, headers=names)
        assert told.status_code == 200, told.text
    lines = {"prompt": f"Gold {marker(who, 'gold')}?", "expected": f"{marker(who, 'gold')}"}
    kept = await house.http.put(
        f"/admin/routing/{tenant}/gold/summary", content=jsontext.dumps(lines), headers=ADMIN
    )
    assert kept.status_code == 200, kept.text
    await house.parts.prompts.behind.flush()
    await house.parts.router.settle()
    await house.parts.learner.idle()
    await house.parts.journal.flush()
    await house.parts.ledger.flush()
    return ids


async def tenant_of(house: House, key: str) -> str:
    record = await house.parts.tenants.key(key)
    assert record is not None
    return record.tenant


def guess(house: House, tenant: Tenant, who: str, body: Mapping[str, Any], actor: bool) -> Query:
    """The request as whoever has the code makes it, with the tenant's key or without."""
    raw = jsontext.dumps(dict(body))
    body = dict(body)
    if actor:
        body["metadata"] = {"user_id": f"{who}@example.com"}
    return fingerprint.read(
        body,
        raw,
        headers={},
        tenant=tenant,
        controls=Controls(namespace=f"space-{who}"),
        upstream=house.parts.upstream.identity,
        embedder=house.parts.embedder_id,
    )


async def guessed(house: House, tenant: str, who: str, haystack: bytes) -> set[str]:
    """What of a tenant's requests a guesser finds in there."""
    held = await house.parts.tenants.known(tenant)
    asked = (small_of(who), True), (talk_of(who), False), (long_of(who), True)
    return {
        name
        for body, actor in asked
        for name in known(
            guess(house, Tenant(tenant), who, body, actor),
            guess(house, held, who, body, actor),
            haystack,
        )
    }


async def kept_of(house: House, folder: Path) -> bytes:
    """All that is in the store and in the files, its append-only file and the snapshot with it."""
    await house.parts.entries.save()
    redis = await store_of(folder / "data")
    try:
        return await in_store(redis) + in_files(folder / "data")
    finally:
        await redis.aclose()


def texts(who: str, haystack: bytes) -> set[str]:
    return {piece for piece in ALL_PIECES if marker(who, piece).encode() in haystack}


async def test_nothing_that_is_kept_says_what_was_asked(house: House, tmp_path: Path) -> None:
    plain, sealed = await house.key("plain"), await without_content(house, "sealed")
    await fill_more(house, "ann", plain)
    await fill_more(house, "bob", sealed)
    kept = await kept_of(house, tmp_path)
    # Sealed is the content of both; what can be guessed is so of the ordinary one alone.
    assert texts("bob", kept) == set()
    assert await guessed(house, "plain", "ann", kept) >= GUESSED
    assert await guessed(house, "sealed", "bob", kept) == set()


async def test_the_search_finds_texts_where_nothing_is_encrypted(tmp_path: Path) -> None:
    async with opened(tmp_path, encryption_key_file=None) as house:
        await fill_more(house, "ann", await house.key("plain"))
        kept = await kept_of(house, tmp_path)
        # Of what stands before the question of a Messages request only digests are kept.
        assert texts("ann", kept) == {*ALL_PIECES} - {"system", "first"}
        assert await guessed(house, "plain", "ann", kept) >= GUESSED


async def test_hits_are_as_for_others_and_after_a_restart_too(tmp_path: Path) -> None:
    said, claude = "How do I reset my password?", Simulated(SimulatedSettings(direct=echo))
    async with serve_simulated(claude) as upstream, opened(tmp_path, upstream=upstream) as house:
        key = await without_content(house, "sealed")
        assert (await house.ask(said, key=key)).headers["x-cache"] == "miss"
        assert came_from(await house.ask(said, key=key)) == ("exact", "identical")
        near = await house.ask("how do I reset my password", key=key)
        assert near.headers["x-cache"] == "semantic"
        streamed = await house.ask(said, key=key, stream=True)
        assert streamed.headers["x-cache"] == "exact"
        assert said in streamed.text
        for came in ("miss", "exact"):
            shown = await house.http.post(
                "/v1/query", json={"prompt": said}, headers={"x-api-key": key}
            )
            assert shown.json()["decision"]["kind"] == came
            assert said in shown.json()["text"]
        batch = await house.http.post(
            "/v1/messages/batches",
            json={
                "requests": [
                    {"custom_id": f"item-{at}", "params": asked(text)}
                    for at, text in enumerate((said, "how do I reset my password"))
                ]
            },
            headers={"x-api-key": key},
        )
        called = len(claude.requests)
        done = await ended(house, batch.json()["id"], key)
        assert done["counts"]["succeeded"] == 2
        assert len(claude.requests) == called
        for place in range(2):
            fields = {"prompt": "And then?", "conversation": "talk"}
            told = await house.http.post("/v1/query", json=fields, headers={"x-api-key": key})
            assert told.status_code == 200, told.text
            assert len(claude.requests[-1].body["messages"]) == 1 + 2 * place
        other = await house.key("plain")
        assert (await house.ask(said, key=other)).headers["x-cache"] == "miss"
        called = len(claude.requests)
    # Who answers is part of what is asked: the next server has the same Claude, if out of reach.
    async with opened(tmp_path, upstream=upstream) as house:
        assert came_from(await house.ask(said, key=key)) == ("exact", "identical")
        near = await house.ask("how do I reset my password", key=key)
        assert near.headers["x-cache"] == "semantic"
        assert said in near.text
        assert len(claude.requests) == called


async def test_two_tenants_have_nothing_in_common_for_one_question(house: House) -> None:
    found: list[dict[str, Any]] = []
    for tenant in ("one", "two", "plain"):
        key = await house.key(tenant)
        if tenant != "plain":
            key = await without_content(house, tenant)
        asked = await house.ask(key=key, metadata={"user_id": "ann"})
        id = asked.headers["x-cache-decision"]
        await house.parts.journal.flush()
        shown = await house.http.get(f"/admin/tenants/{tenant}/decisions/{id}", headers=ADMIN)
        found.append(shown.json())
    for name in ("fingerprint", "scope", "actor"):
        assert len({one[name] for one in found}) == 3, name
    assert [one.get("withheld") for one in found] == ["no-content", "no-content", None]
    assert [one["asked"] is None for one in found] == [True, True, False]


async def shows(
    house: House, tenant: str, who: str, key: str, ids: Mapping[str, str]
) -> dict[str, bytes]:
    """What every route that reads gives of a tenant, by its path in the description."""
    described = (await house.http.get("/openapi.json")).json()["paths"]
    found: dict[str, bytes] = {}
    for path, operations in described.items():
        if "get" not in operations or path in (*OWN, "/v1/models", "/v1/models/{id}"):
            continue
        talks = "/conversations/" in path
        id = next((ids[kind] for kind in ("decision", "job", "batch") if kind in path), "")
        named = {"tenant": tenant, "task": "summary", "id": id}
        named["name"] = f"talk-{who}" if talks else tenant
        got = await house.http.get(
            path.format(**named),
            headers=ADMIN if path.startswith(("/admin", "/metrics")) else {"x-api-key": key},
            params={"namespace": f"space-{who}"} if talks else {},
        )
        assert got.status_code in (200, 400, 409), (path, got.text)
        found[path] = got.content
    return found


async def near(house: House, who: str, key: str) -> str:
    """The id of a decision that a stored question of `who` came near to."""
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    asked = await house.ask(f"WHERE is {marker(who, 'message')} made", headers=names)
    assert asked.headers["x-cache"] == "semantic"
    return asked.headers["x-cache-decision"]


async def test_no_route_shows_a_text_but_what_a_caller_asked_for_itself(house: House) -> None:
    found: dict[str, dict[str, bytes]] = {}
    for tenant, who in (("plain", "ann"), ("sealed", "bob")):
        whole = tenant == "sealed"
        key = await without_content(house, tenant) if whole else await house.key(tenant)
        ids = await fill_more(house, who, key)
        ids["decision"] = await near(house, who, key)
        await house.parts.journal.flush()
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
    assert await house.parts.reviews.items("sealed", after=None, limit=10) == []
    tried = [
        await house.http.get("/admin/tenants/sealed/reviews", headers=ADMIN),
        await house.http.get("/admin/tenants/sealed/reviews/export", headers=ADMIN),
        await house.http.post("/admin/tenants/sealed/reviews", content=b"{}", headers=ADMIN),
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
                f"/admin/tenants/{tenant}/bars", json={"bar": bar, "dry_run": True}, headers=ADMIN
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
    await house.parts.prompts.behind.flush()
    shown = await house.http.get("/admin/prompts/sealed/versions", headers=ADMIN)
    new, old = (one["digest"] for one in shown.json()[0]["versions"])
    fields = {"namespace": "space-ann", "from": old, "to": new}
    tried = await house.http.post(
        "/admin/prompts/sealed/carry-over", json={**fields, "dry_run": True}, headers=ADMIN
    )
    told = tried.json()
    assert (told["found"], told["withheld"]) == (1, "no-content")
    assert [one["question"] for one in told["questions"]] == [None]
    made = await house.http.post(
        "/admin/prompts/sealed/carry-over",
        json={**fields, "dry_run": False},
        headers=ADMIN,
    )
    assert made.json()["carried"] == 1
    copied = guess(house, await house.parts.tenants.known("sealed"), "ann", body, actor=False)
    redis = await store_of(tmp_path / "data")
    try:
        kept = await in_store(redis)
    finally:
        await redis.aclose()
    assert copied.scope.encode() in kept
    assert "copy" not in known(copied, copied, kept)


async def test_a_change_of_mode_erases_what_there_is_both_ways(
    house: House, tmp_path: Path
) -> None:
    key = await house.key("acme")
    await fill_more(house, "ann", key)
    assert await guessed(house, "acme", "ann", await kept_of(house, tmp_path)) >= GUESSED
    changed = await put(house, "acme", no_content=True)
    assert changed.status_code == 200, changed.text
    assert changed.json()["no_content"] is True
    assert changed.json()["erased"]["removed"]["answers"] > 0
    kept = await kept_of(house, tmp_path)
    assert texts("ann", kept) == set()
    assert await guessed(house, "acme", "ann", kept) == set()

    assert (await house.ask(key=key)).headers["x-cache"] == "miss"
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"
    again = await put(house, "acme", no_content=True)
    assert "erased" not in again.json()
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"

    changed = await put(house, "acme", no_content=False)
    assert changed.json()["erased"]["removed"]["answers"] == 1
    assert (await house.ask(key=key)).headers["x-cache"] == "miss"
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"
    log = await house.http.get("/admin/tenants/acme/erasures", headers=ADMIN)
    assert [row["who"] for row in log.json()] == ["no_content", "no_content"]


async def test_what_was_under_way_at_the_change_leaves_no_digest(
    house: House, tmp_path: Path
) -> None:
    key = await house.key("acme")
    await put(house, "acme", no_content=True)
    plain = await house.http.get("/admin/tenants/acme", headers=ADMIN)
    assert plain.json()["no_content"] is True
    # As a request notes its prompt that was let in before, and answered after.
    late = guess(house, Tenant("acme"), "ann", talk_of("ann"), actor=False)
    house.parts.prompts.watch.answered(late, MODEL, Usage(), house.clock())
    await house.parts.prompts.behind.flush()
    assert "skeleton" in await guessed(house, "acme", "ann", await kept_of(house, tmp_path))
    house.clock.ahead_s += 700
    await house.parts.eraser.look()
    assert await guessed(house, "acme", "ann", await kept_of(house, tmp_path)) == set()
    assert (await house.ask(key=key)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "fields", "named"),
    [
        ({"encryption_key_file": None}, {"no_content": True}, "CACHESERVER_ENCRYPTION_KEY_FILE"),
        ({"credentials": "caller"}, {"no_content": True}, "CACHESERVER_CREDENTIALS"),
        ({}, {"no_content": "yes"}, "true or false"),
        (
            {},
            {
                "no_content": True,
                "caching": {"prewarm": [{"name": "a", "model": MODEL, "system": "You."}]},
            },
            "caching.prewarm",
        ),
    ],
)
async def test_a_mode_that_cannot_be_is_a_400_that_names_why(
    tmp_path: Path, settings: dict[str, Any], fields: dict[str, Any], named: str
) -> None:
    async with opened(tmp_path, **settings) as house:
        refused = await put(house, "acme", **fields)
        assert refused.status_code == 400
        assert named in refused.json()["error"]["message"]
        assert "no_content" in refused.json()["error"]["message"]
        assert not (await house.parts.tenants.known("acme")).no_content


async def test_without_encryption_no_server_starts_beside_such_a_tenant(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        await without_content(house, "sealed")
    with pytest.raises(SettingsError, match="CACHESERVER_ENCRYPTION_KEY_FILE"):
        async with opened(tmp_path, encryption_key_file=None):
            raise AssertionError("it started")


async def test_where_the_key_is_given_up_nobody_is_served_under_guessed_settings(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as house:
        key = await without_content(house, "sealed")
        await house.ask(key=key)
    given_up = {"encryption_key_file": None, "encryption_give_up": True}
    async with opened(tmp_path, **given_up) as house:
        refused = await house.ask(key=key)
        assert refused.status_code == 503
        assert "sealed" in refused.json()["error"]["message"]
        assert len(house.asked) == 0
        listed = await house.http.get("/admin/tenants", headers=ADMIN)
        assert [one["name"] for one in listed.json()] == ["sealed"]
        anew = await put(house, "sealed", default_ttl_s=60)
        assert (anew.status_code, anew.json()["no_content"]) == (200, False)
        assert (await house.ask(key=key)).headers["x-cache"] == "miss"


async def test_an_end_user_is_erased_by_name(house: House, tmp_path: Path) -> None:
    key = await without_content(house, "sealed")
    await fill(house, "ann", key)
    await fill(house, "bob", key)
    told = await house.http.post(
        "/v1/erase", json={"actor": "ann@example.com"}, headers={"x-api-key": key}
    )
    assert told.json()["removed"]["answers"] > 0
    assert told.json()["removed"]["jobs"] > 0
    for who, came in (("ann", "miss"), ("bob", "exact")):
        names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
        asked = await house.ask(f"Where is {marker(who, 'message')} made?", headers=names)
        assert asked.headers["x-cache"] == came


@pytest.mark.parametrize("named", ["header", "body"])
async def test_an_end_users_work_that_waits_is_erased_by_name(tmp_path: Path, named: str) -> None:
    async with BatchHouse.start(
        tmp_path / "data", claude=echo, encryption_key_file=key_file(tmp_path)
    ) as house:
        await put(house, "default", no_content=True)
        house.door.hold_at(lambda method, path: method == "POST", "before")
        items = [
            item(f"{who}-item", f"Where is {marker(who, 'batch')}?", **_user(who, named))
            for who in ("ann", "bob")
        ]
        made = []
        for who, asked in zip(("ann", "bob"), items, strict=True):
            headers = {"x-cache-actor": who} if named == "header" else {}
            answer = await house.http.post(
                "/v1/messages/batches", json={"requests": [asked]}, headers=headers
            )
            made.append(answer.json()["id"])
        await house.door.reached.wait()
        told = await house.http.post("/v1/erase", json={"actor": "ann"})
        assert told.json()["removed"]["jobs"] == 1
        house.door.release()
        for id, kind in zip(made, ("errored", "succeeded"), strict=True):
            await house.ended(id)
            lines = await house.http.get(f"/v1/messages/batches/{id}/results")
            assert jsontext.loads(lines.content)["result"]["type"] == kind


def _user(who: str, named: str) -> dict[str, Any]:
    return {"metadata": {"user_id": who}} if named == "body" else {}


async def test_servers_on_one_store_follow_before_the_mode_is_said_to_be_on(tmp_path: Path) -> None:
    with serving(find_server()) as url:
        async with (
            opened(tmp_path, redis_url=url) as a,
            House.open(
                tmp_path / "b", redis_url=url, claude=echo, encryption_key_file=key_file(tmp_path)
            ) as b,
        ):
            key = await a.key("acme")
            names = {"x-api-key": key, "x-cache-namespace": "space-ann"}
            await b.http.post("/v1/messages", json=small_of("ann"), headers=names)
            changed = await put(a, "acme", no_content=True)
            assert changed.json()["erased"]["removed"]["answers"] == 1
            for house in (a, b):
                said = await house.http.post("/v1/messages", json=small_of("ann"), headers=names)
                assert said.headers["x-cache"] == "miss"
                await house.parts.journal.flush()
            redis = connect(url)
            try:
                kept = await in_store(redis)
            finally:
                await redis.aclose()
            for house in (a, b):
                assert await guessed(house, "acme", "ann", kept) == set()
