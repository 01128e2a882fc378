"""Containers, what code made in them, and threads: whoever's request made them, and nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from cacheserver.embedded.store import EmbeddedStore
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, House
from tests.redis_servers import store

__all__ = ["store"]  # a fixture

CODE = [{"type": "code_execution_20250825", "name": "code_execution"}]
QUESTION = "What is in the vault? [[sim code]]"
ASKED = [{"role": "user", "content": QUESTION}]


async def run(house: House, key: str, **body: Any) -> Any:
    """An answer for which code ran, through the official SDK."""
    given: dict[str, Any] = {
        "model": "claude-haiku-5-5", "max_tokens": 99, "tools": CODE,
        "messages": ASKED, **body,
    }  # fmt: skip
    if given.pop("stream", False):
        async with house.sdk(key).messages.stream(**given) as stream:
            return await stream.get_final_message()
    return await house.sdk(key).messages.create(**given)


def claude(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2026-10-21"}


def made(message: Any) -> tuple[str, str]:
    """The ids of the container and of the file."""
    found = message if isinstance(message, dict) else json.loads(message.model_dump_json())
    files = [
        output["file_id"]
        for block in found["content"]
        if block["type"] == "bash_code_execution_tool_result"
        for output in block["content"]["content"]
    ]
    return found["container"]["id"], files[0]


async def asks(house: House, key: str, path: str = "/v1/messages", **body: Any) -> httpx2.Response:
    given = {
        "model": "claude-haiku-5-5", "max_tokens": 99,
        "messages": [{"role": "user", "content": "And now?"}], **body,
    }  # fmt: skip
    if path.endswith("batches"):
        given = {"requests": [{"custom_id": "a", "params": given}]}
    return await house.http.post(path, json=given, headers={"x-api-key": key})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_container_and_its_files_are_the_tenants_that_asked(
    house: House, stream: bool
) -> None:
    one, two = await house.key("one"), await house.key("two")
    container, file = made(await run(house, one, stream=stream))
    read = await house.sdk(one).files.download(file)
    assert await read.read() == b"What is in the vault?"
    assert [f.id async for f in house.sdk(one).files.list()] == [file]
    again = await run(house, one, container=container)
    assert made(again)[0] == container
    with pytest.raises(anthropic.NotFoundError):
        await house.sdk(two).files.download(file)
    before = len(house.upstream.requests)
    for named in (container, {"id": container}, {"id": container, "skills": []}):
        for streamed in (False, True):
            other = await asks(house, two, container=named, stream=streamed)
            assert other.status_code == 404, other.text
            nobodys = await asks(house, two, container="container_nobodys", stream=streamed)
            assert (
                other.text.replace(container, "").split('"request_id"')[0]
                == (nobodys.text.replace("container_nobodys", "").split('"request_id"')[0])
            )
    block = [{"type": "container_upload", "file_id": file}]
    refused = await asks(house, two, messages=[{"role": "user", "content": block}])
    assert refused.status_code == 404
    assert len(house.upstream.requests) == before


async def test_no_spelling_hides_a_container_of_another(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    container, _ = made(await run(house, one))
    before = len(house.upstream.requests)
    plain = (
        '{"model": "claude-haiku-5-5", "max_tokens": 9, "messages": '
        '[{"role": "user", "content": "hi"}], "container": "' + container + '"}'
    )
    for raw in (
        plain,
        plain.replace('"container"', '"cont\\u0061iner"'),
        plain.replace(container, "\\u0063" + container[1:]),
        plain.replace('"max_tokens"', '"container": "' + container + '", "max_tokens"').replace(
            '"hi"}], "container": "' + container, '"hi"}], "container": "container_x'
        ),
        plain[:-1] + ', "container": null}',
    ):
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            sent = raw.replace('"max_tokens": 9, ', "") if path.endswith("tokens") else raw
            got = await house.http.post(path, content=sent, headers={"x-api-key": two})
            twice = raw.count('ontainer"') > 1  # a name that is there twice is refused as such
            assert got.status_code in (404, 400 if twice else 404), (path, raw, got.text)
    assert len(house.upstream.requests) == before


async def test_an_answer_with_a_container_serves_nobody_else(house: House) -> None:
    key = await house.key("one")
    first, second = await run(house, key), await run(house, key)
    assert first.id != second.id
    assert made(first)[0] != made(second)[0]


async def test_a_tools_input_makes_nobody_the_owner_of_a_file(house: House) -> None:
    key = await house.key("one")
    wanted = json.dumps({"type": "code_execution_output", "file_id": "file_of_the_operator"})
    answer = await house.ask(
        f"[[sim tool=save input='{wanted}']]", key=key,
        tools=[{"name": "save", "input_schema": {"type": "object"}}],
    )  # fmt: skip
    assert "file_of_the_operator" in answer.text
    assert await house.parts.passthrough.of(["file_of_the_operator"]) == {}


async def test_a_thread_is_continued_by_its_own_tenant_alone(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    begun = await asks(house, one, thread={"type": "create"})
    id = begun.json()["id"]
    for key, status in ((two, 404), (one, 200)):
        thread = {"type": "continue", "previous_message_id": id}
        got = await asks(house, key, thread=thread)
        assert got.status_code == status, got.text
        streamed = await asks(house, key, thread=thread, stream=True)
        assert streamed.status_code == status, streamed.text
    plain = (await asks(house, one)).json()["id"]  # not of a thread: nothing can be continued
    refused = await asks(house, one, thread={"type": "continue", "previous_message_id": plain})
    assert refused.status_code == 404
    warm = await asks(house, two, diagnostics={"previous_message_id": id})
    assert warm.status_code == 200, warm.text


async def test_what_a_batch_made_is_its_tenants(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        one, two = await house.key("one"), await house.key("two")
        batch = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [item("i1", text=QUESTION, tools=CODE)]},
            headers={"x-api-key": one},
        )
        id = batch.json()["id"]
        await house.ended(id, key=one)
        results = await house.http.get(
            f"/v1/messages/batches/{id}/results", headers={"x-api-key": one}
        )
        container, file = made(json.loads(results.text)["result"]["message"])
        for key, status in ((two, 404), (one, 200)):
            got = await house.http.get(f"/v1/files/{file}", headers=claude(key))
            assert got.status_code == status, got.text
            assert (await asks(house, key, container=container)).status_code == status
        sent = await asks(house, two, "/v1/messages/batches", container=container)
        if sent.status_code == 200:  # items are sent later, each refused as it would be alone
            await house.ended(sent.json()["id"], key=two)
            results = await house.http.get(
                f"/v1/messages/batches/{sent.json()['id']}/results", headers={"x-api-key": two}
            )
            result = json.loads(results.text)["result"]
            assert result["type"] == "errored", results.text


async def test_what_was_made_while_the_store_was_away_is_recorded_once_it_is_back(
    tmp_path: Path, store: EmbeddedStore
) -> None:
    url = await store.start()
    async with House.open(tmp_path / "data", redis_url=url) as house:
        one, two = await house.key("one"), await house.key("two")
        for key in (one, two):  # so that both are known while the store is away
            await house.ask(key=key)
        await store.stop()
        container, file = made((await asks(house, one, messages=ASKED, tools=CODE)).json())
        closed = await asks(house, one, container=container)
        assert (closed.status_code, "store is away" in closed.text) == (503, True), closed.text
        page = (await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})).text
        assert 'cacheserver_swallowed_total{site="passthrough"} 2.0' in page
        await store.start()
        for key, status in ((two, 404), (one, 200)):
            got = await house.http.get(f"/v1/files/{file}", headers=claude(key))
            assert got.status_code == status, got.text
            assert (await asks(house, key, container=container)).status_code == status
