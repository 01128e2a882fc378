"""Every route of the server has a method of the client, and methods of each group work."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import aclosing, closing
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qs

import pytest

from cacheserver import AsyncClient, Client
from cacheserver.client import Job, NotFoundError
from cacheserver.client.admin import Admin
from cacheserver.client.calls import Call, Calls
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, MODEL, House

# Browsers' routes, and Claude's own, which the SDK calls.
NO_METHOD = {
    "GET /admin/session",
    "POST /admin/session",
    "DELETE /admin/session",
    "POST /v1/messages",
}
ID = "ID0"
LISTS = {"tags", "group_by", "cause", "decision", "entries"}  # options that are lists


def methods_of(owner: object) -> Iterator[Any]:
    for name in dir(owner):
        if not name.startswith("_") and callable(method := getattr(owner, name)):
            yield method


def arguments(method: Any) -> list[Any]:
    """Something for each argument that must be given."""
    kinds = {"bytes": b"", "Mapping[str, Any]": {}, "Sequence[Mapping[str, Any]]": [{}]}
    return [
        kinds.get(str(one.annotation), ID)
        for one in inspect.signature(method).parameters.values()
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]


def named(method: Any) -> dict[str, Any]:
    """Something for each argument that has a name: of its own, or in a `TypedDict` of options."""
    names = []
    for one in inspect.signature(method).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            names.append(one.name)
        elif one.kind is one.VAR_KEYWORD:
            (options,) = get_args(get_type_hints(method)[one.name]) or (None,)
            names += [] if options is None else get_type_hints(options)
    return {name: [ID] if name in LISTS else ID for name in names}


class Recording(Client):
    """A client that notes calls instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def _send(self, call: Call, **_: Any) -> Any:
        self.calls.append(call)
        raise Sent


class Sent(Exception):
    """A call was noted."""


def called() -> dict[str, set[str]]:
    """The routes that the client's methods call, ids as `{}`, with all their query parameters."""
    client = Recording()
    groups: list[Any] = [client.admin, client.jobs, client.batches]
    groups += [one for name in dir(Admin) if isinstance(one := getattr(client.admin, name), Calls)]
    generic = {"get", "post", "put", "delete"}  # of `admin`: any path
    special: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "feedback": (["good"], {"entry_id": ID}),
        "put": ([ID, ID], {}),
        "purge": ([], {"tag": ID}),
        "erase": ([], {"tag": ID}),
        "query": ([ID], {}),
        "get": ([ID], {}),
        "create": ([], {"prompt": ID}),
    }
    left_out = ("close", "items", "stream", "from_env")
    for owner in (client, *groups):
        for method in methods_of(owner):
            if method.__name__ in left_out or (owner is groups[0] and method.__name__ in generic):
                continue
            given = (arguments(method), named(method))
            if owner is client or owner is client.jobs or isinstance(owner, type(client.jobs)):
                given = special.get(method.__name__, given)
            with pytest.raises(Sent):
                next(iter(method(*given[0], **given[1])))  # what streams begins when it is read
    found: dict[str, set[str]] = {}
    for call in client.calls:
        where, _, query = call.path.partition("?")
        route = f"{call.method} {where.replace(ID, '{}')}"
        found.setdefault(route, set()).update(parse_qs(query))
    return found


async def test_every_route_has_a_method(house: House) -> None:
    described = (await house.http.get("/openapi.json")).json()["paths"]
    routes = {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}": str(about.get("summary"))
        for path, methods in described.items()
        for method, about in methods.items()
    }
    assert len(routes) > 80
    found = called()
    ours = {route for route, summary in routes.items() if "passed on" not in summary}
    assert ours - found.keys() - NO_METHOD == set(), "routes without a method"
    assert found.keys() - routes.keys() == set(), "methods without a route"
    taken = {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}": {
            one["name"] for one in about.get("parameters", ()) if one["in"] == "query"
        }
        for path, methods in described.items()
        for method, about in methods.items()
    }
    assert {route: names for route, names in found.items() if names != taken[route]} == {}


def test_an_option_that_is_none_is_refused_with_the_name_of_the_method() -> None:
    client = Client()
    for method, given, says in (
        (client.decisions, {"outcom": "miss"}, r"decisions\(\) has no option 'outcom'.*'outcome'"),
        (client.entries, {"tags": ["a"]}, r"entries\(\) has no option 'tags'.*'tag'"),
        (client.admin.entries.list, {"teant": "a"}, r"admin\.entries\.list\(\) .*'tenant'"),
        (client.admin.purge, {"tennant": "a"}, r"admin\.entries\.purge\(\) .*'tenant'"),
        (client.admin.near_misses, {"outcome": "miss"}, r"admin\.near_misses\(\) has no option"),
        (client.admin.admin_keys.trail, {"by": "a"}, "trail"),
        (client.admin.work.jobs, {"state": "a"}, r"jobs\(\)"),
    ):
        with pytest.raises(TypeError, match=says):
            method(**given)


async def test_filters_choose_what_they_say(house: House) -> None:
    async with AsyncClient(house.url) as client:
        await client.query("What is the capital of France?", tags=["geo"])
        await client.query("What is the capital of France?")
        assert len((await client.decisions(outcome="exact"))["items"]) == 1
        assert len((await client.decisions(start=0, end="2020-01-01"))["items"]) == 0
        assert len((await client.entries(tag="geo", hits_max=9))["items"]) == 1
        assert len((await client.entries(older_than_s=1_000))["items"]) == 0


async def test_live_counts_come_as_they_are(house: House) -> None:
    async with AsyncClient(house.url, key=ADMIN_KEY) as client:
        async with aclosing(client.live()) as events:
            event = await anext(events)
        assert {"at", "now", "total"} <= event.keys()

    def first() -> dict[str, Any]:
        with Client(house.url, key=ADMIN_KEY) as client, closing(client.live()) as events:
            return next(events)

    assert (await asyncio.to_thread(first)).keys() == event.keys()


async def test_admin_calls_of_each_group_are_answered(house: House) -> None:
    async with (
        AsyncClient(house.url, key=ADMIN_KEY) as client,
        AsyncClient(house.url, key=await house.key("shop")) as shop,
    ):
        admin = client.admin
        first = await shop.query("What is the capital of France?", tags=["geo"])
        await shop.query("What's the capital of France?")
        assert [one["name"] async for one in client.items(admin.tenants.list)] == ["shop"]
        assert (await admin.tenants.change("shop", default_ttl_s=60))["name"] == "shop"
        made = await admin.keys.create("shop", role="write", label="import")
        assert made["role"] == "write"
        await admin.keys.revoke(made["id"])
        tried = await admin.bars.set("shop", {"similarity": 0.9}, dry_run=True)
        assert tried["dry_run"] is True
        await admin.bars.set("shop", {"similarity": 0.9})
        assert (await admin.bars.show("shop"))["tenant"]["similarity"] == 0.9
        await admin.bars.undo("shop")
        assert (await admin.bars.show("shop"))["tenant"]["similarity"] == 0.95
        (entry,) = [one async for one in client.items(admin.entries.list, tenant="shop", limit=1)]
        assert entry["id"] == first.entry_id
        curated = await admin.entries.curate("shop", entry["id"], "Paris.")
        assert curated["origin"] == "curated"
        assert (await shop.query("What is the capital of France?")).origin == "curated"
        assert (await admin.entries.purge(tenant="shop", tag="geo"))["purged"] == 1
        assert (await admin.decisions.list(tenant="shop"))["items"]
        assert (await admin.near_misses(tenant="shop"))["items"] == []
        assert (await admin.scopes.list("shop"))["items"]
        assert (await admin.labels.queue("shop"))["items"] == []
        assert "capital of France" in await admin.labels.export("shop")
        assert (await admin.alerts.list())["alerts"] == []
        assert (await admin.change_settings(top_k=5))["settings"]
        assert (await admin.settings())["settings"]
        assert (await admin.prices())["models"]
        assert (await admin.health())["checks"]
        assert (await admin.overview(tenant="shop"))["tenant"] == "shop"
        assert (await admin.get("/admin/v1/stats", tenant="shop"))["requests"] == 3
        assert "cacheserver_requests" in await admin.metrics()
        audit = await admin.audits.create(b'{"model": "x"}\n', name="calls.jsonl")
        assert (await admin.audits.show(audit["id"]))["name"] == "calls.jsonl"


async def test_calls_of_a_tenant_are_answered(house: House) -> None:
    def work() -> None:
        with Client(house.url) as client:
            answer = client.query("What is the capital of France?", conversation="talk")
            assert client.feedback("good", entry_id=answer.entry_id)["done"] == "counted"
            with pytest.raises(ValueError, match="either"):
                client.feedback("good")
            assert len(client.conversation("talk")["messages"]) == 2
            assert client.forget_conversation("talk")
            body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
            assert client.estimate(body)
            assert client.lint(body, requests_a_day=10)
            assert client.count_tokens(body)["input_tokens"] > 0
            assert client.prices()["models"]
            assert client.budget() is not None
            assert client.models()["data"]
            assert client.batch_eligible()["items"] == []
            assert client.entry(answer.entry_id or "")["origin"] == "simulated"
            assert client.decision(answer.decision_id or "")["id"] == answer.decision_id
            rows = b"".join(client.export("jsonl")).splitlines()
            assert len(rows) >= 1
            assert client.ready()["ready"] is True
            with pytest.raises(NotFoundError):
                client.entry("0" * 32)

    await asyncio.to_thread(work)


async def test_a_decision_has_its_candidates_and_its_probability(house: House) -> None:
    async with AsyncClient(house.url) as client:
        await client.query("What is the capital of France?")
        near = await client.query("What is the capital of Spain?")
        assert near.decision.kind == "miss"
        (candidate,) = near.decision.candidates
        assert candidate.veto == near.decision.veto == "entity"
        assert candidate.similarity == near.decision.similarity
        async with client.stream("What is the capital of Italy?") as stream:
            assert stream.decision.veto == "entity"


async def test_jobs_and_batches_are_sent_waited_for_and_read(tmp_path: Any) -> None:
    async with BatchHouse.start(tmp_path) as house:
        await house.send_at_once("default")
        seen: list[Job] = []
        async with AsyncClient(house.url) as client:
            job = await client.jobs.create("What is later?", when="batch")
            assert (job.ended, job.text) == (False, None)
            ended, _ = await asyncio.gather(
                client.jobs.wait(job.id, on_progress=seen.append), house.ended(job.id)
            )
            assert ended.ended
            assert ended.text
            assert seen[-1] == ended
            batch = await client.batches.create([item("one"), item("two", text="Another?")])
            await house.ended(batch["id"])
            assert (await client.batches.show(batch["id"]))["processing_status"] == "ended"
            lines = [one async for one in client.batches.results(batch["id"])]
            assert {one["custom_id"] for one in lines} == {"one", "two"}
        url = house.url

        def work() -> None:
            with Client(url) as client:
                again = client.jobs.create("What is later?", deadline=60)
                assert client.jobs.wait(again.id).text == ended.text
                assert len(list(client.batches.results(batch["id"]))) == 2
                assert client.batches.list()["data"]

        await asyncio.to_thread(work)
