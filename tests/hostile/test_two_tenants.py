"""What a tenant gets for another's ids is what it gets for ids of nobody, and changes nothing.

The routes are those of the description: one that takes an id and is not tried here fails the test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from cacheserver.passthrough.rules import OWNED
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY

ADMIN = {"x-api-key": ADMIN_KEY}
METHODS = ("get", "post", "put", "delete", "patch")
# Claude's own: passed on, nobody's.
SHARED = {"/v1/models/{id}"}
# Ids that go in the body.
BODIES = {
    ("post", "/v1/purge"): {"entry_id": "entry"},
    ("post", "/v1/feedback"): {"verdict": "bad", "entry_id": "entry"},
    ("post", "/v1/erase"): {"entry_id": "entry"},
}


@dataclass(frozen=True)
class Ids:
    """One of each kind that a tenant has."""

    entry: str
    decision: str
    job: str
    batch: str
    conversation: str
    tag: str
    tenant: str
    kept: Mapping[str, str]  # one of each kind of what is kept at Claude

    def of(self, path: str) -> str:
        """The id that belongs into a path."""
        for part, id in (
            ("/decisions/", self.decision),
            ("/jobs/", self.job),
            ("/batches/", self.batch),
            ("/conversations/", self.conversation),
            ("/entries/", self.entry),
        ):
            if part in path:
                return id
        if path.split("/")[2] in OWNED:
            return self.kept[path.split("/")[2]]
        raise AssertionError(f"{path} takes an id that this test does not know")


NOBODYS = Ids(
    entry="01" * 16, decision="dec_" + "0" * 24, job="job_" + "0" * 24,
    batch="msgbatch_" + "0" * 24, conversation="nobodys", tag="nobodys", tenant="nobody",
    kept=dict.fromkeys(OWNED, "kept_" + "0" * 20),
)  # fmt: skip


async def theirs(house: BatchHouse, key: str) -> Ids:
    """One of everything, of a tenant."""
    headers = {"x-api-key": key, "x-cache-tags": "private"}
    question = {"prompt": "What is in the vault?", "conversation": "talk"}
    first = (await house.http.post("/v1/query", json=question, headers=headers)).json()
    plain = await house.ask("What is under the vault?", key=key, headers=headers)
    job = await house.http.post("/v1/jobs", json={"prompt": "Later?"}, headers=headers)
    batch = await house.http.post(
        "/v1/messages/batches", json={"requests": [item("i1", text="All?")]}, headers=headers
    )
    kept = {}
    for kind in sorted(OWNED):
        given: dict[str, Any] = {"json": {"name": "in the vault"}}
        if kind == "files":
            given = {"files": {"file": ("secret.txt", b"in the vault")}}
        claude = {**headers, "anthropic-version": "2026-10-21"}
        made = await house.http.post(f"/v1/{kind}", headers=claude, **given)
        assert made.status_code == 200, made.text
        kept[kind] = made.json()["id"]
    assert job.status_code == 202, job.text
    assert batch.status_code == 200, batch.text
    return Ids(
        entry=plain.headers["x-cache-entry"], decision=first["decision_id"], job=job.json()["id"],
        batch=batch.json()["id"], conversation="talk", tag="private", tenant="one",
        kept=kept,
    )  # fmt: skip


def tried(described: dict[str, Any]) -> list[tuple[str, str]]:
    """Every method and path that a tenant's key opens and that takes an id, path or body."""
    return [
        (method, path)
        for path, operations in described["paths"].items()
        for method in METHODS
        if method in operations
        and not path.startswith(("/admin", "/metrics"))
        and path not in SHARED
        and ("{" in path or (method, path) in BODIES)
    ]


async def send(house: BatchHouse, method: str, path: str, ids: Ids, key: str) -> tuple[int, str]:
    """The status, and the answer without what is different each time."""
    given: dict[str, Any] = {}
    headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
    if (method, path) in BODIES:
        body = {n: ids.entry if v == "entry" else v for n, v in BODIES[method, path].items()}
        given["json"] = body
    else:
        path = re.sub(r"\{\w+\}", ids.of(path), path)
    got = await house.http.request(method.upper(), path, headers=headers, **given)
    return got.status_code, _without_ids(got, ids)


def _without_ids(got: httpx2.Response, ids: Ids) -> str:
    text = re.sub(r"req_\w+", "req_", got.text)
    text = re.sub(r'("again_at"):[0-9.]+', r"\1", text)  # when an erasure is done once more
    for id in (ids.entry, ids.decision, ids.job, ids.batch, ids.conversation, *ids.kept.values()):
        text = text.replace(id, "ID")
    return text


async def owns(house: BatchHouse, ids: Ids, key: str) -> str:
    """What the owner sees of all of it."""
    headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
    seen = []
    for path in (
        f"/v1/decisions/{ids.decision}", f"/v1/jobs/{ids.job}", "/v1/conversations/talk",
        f"/v1/entries/{ids.entry}",
        f"/v1/messages/batches/{ids.batch}", f"/v1/messages/batches/{ids.batch}/results",
        *(f"/v1/{kind}/{id}" for kind, id in sorted(ids.kept.items())),
        *(f"/v1/{kind}" for kind in sorted(ids.kept)),
        f"/v1/files/{ids.kept['files']}/content",
    ):  # fmt: skip
        got = await house.http.get(path, headers=headers)
        seen.append((path, got.status_code, re.sub(r"req_\w+", "", got.text)))
    return json.dumps(seen, indent=1)


async def test_another_tenants_ids_are_nobodys_and_stay_as_they_are(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        one, two = await house.key("one"), await house.key("two")
        ids = await theirs(house, one)
        await house.ended(ids.job, key=one)
        await house.ended(ids.batch, key=one)
        before = await owns(house, ids, one)
        routes = tried((await house.http.get("/openapi.json")).json())
        assert len(routes) >= 12
        assert before.count("in the vault") >= len(OWNED)  # something is there to be seen
        for method, path in routes:
            got = await send(house, method, path, ids, two)
            expected = await send(house, method, path, NOBODYS, two)
            assert got == expected, f"{method} {path} tells another tenant's id from nobody's"
            assert "the vault" not in got[1]
        for by in ("tag", "namespace"):
            body = {by: {"tag": ids.tag, "namespace": "default"}[by]}
            purged = await house.http.post("/v1/purge", json=body, headers={"x-api-key": two})
            assert purged.json() == {"purged": 0}
        assert await owns(house, ids, one) == before
        stored = await house.ask(
            "What is under the vault?", key=one, headers={"cache-control": "only-if-cached"}
        )
        assert (stored.status_code, stored.headers["x-cache-entry"]) == (200, ids.entry)


async def test_what_ran_at_claude_is_nobodys_to_another_tenant(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        one, two = await house.key("one"), await house.key("two")
        ran = (await house.ask("What is in the vault? [[sim code]]", key=one)).json()
        output = ran["content"][1]["content"]["content"][0]["file_id"]
        begun = (await house.ask("Begin.", key=one, thread={"type": "create"})).json()
        block = {"type": "container_upload", "file_id": output}
        ways: list[dict[str, Any]] = [
            {"container": ran["container"]["id"]},
            {"container": {"id": ran["container"]["id"]}},
            {"thread": {"type": "continue", "previous_message_id": begun["id"]}},
            {"messages": [{"role": "user", "content": [block]}]},
        ]
        before = len(house.upstream.requests)
        for more in ways:
            for stream in (False, True):
                other = await house.ask("And?", key=two, stream=stream, **more)
                assert (other.status_code, "vault" in other.text) == (404, False), other.text
        headers = {"x-api-key": two, "anthropic-version": "2026-10-21"}
        read = await house.http.get(f"/v1/files/{output}/content", headers=headers)
        assert (read.status_code, "vault" in read.text) == (404, False)
        assert len(house.upstream.requests) == before
        for more in ways:
            assert (await house.ask("And?", key=one, **more)).status_code == 200, more


async def test_no_tenants_key_opens_what_is_the_admins(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        key = await house.key("one")
        described = (await house.http.get("/openapi.json")).json()
        admins = [
            (method, re.sub(r"\{\w+\}", "one", path))
            for path, operations in described["paths"].items()
            for method in METHODS
            if method in operations and path.startswith(("/admin/v1", "/metrics"))
        ]
        assert len(admins) > 30
        for method, path in admins:  # a wrong key is held up each time: without one it is the same
            got = await house.http.request(method.upper(), path)
            assert got.status_code == 401, (method, path)
        refused = await house.http.get("/admin/v1/keys", headers={"x-api-key": key})
        assert refused.status_code == 401
