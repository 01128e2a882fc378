"""With the server's key: what a tenant made at Claude, through the official SDK, is its alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from cacheserver.passthrough.owners import MOST_NAMED
from tests.house import House


def asking(file_id: str) -> dict[str, Any]:
    block = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    content = [block, {"type": "text", "text": "What is in it?"}]
    return {"messages": [{"role": "user", "content": content}]}


async def test_a_file_is_kept_listed_read_and_deleted(house: House) -> None:
    claude = house.sdk()
    made = await claude.files.upload(file=("notes.txt", b"the vault is empty", "text/plain"))
    assert (made.filename, made.size_bytes) == ("notes.txt", 18)
    assert (await claude.files.retrieve_metadata(made.id)).id == made.id
    read = await claude.files.download(made.id)
    assert await read.read() == b"the vault is empty"
    assert [one.id async for one in claude.files.list()] == [made.id]
    answer = await house.ask(**asking(made.id))
    assert answer.status_code == 200, answer.text
    await claude.files.delete(made.id)
    with pytest.raises(anthropic.NotFoundError):
        await claude.files.retrieve_metadata(made.id)
    assert [one async for one in claude.files.list()] == []


async def test_skills_and_agents_are_passed_on_too_and_prebuilt_skills_are_everybodys(
    house: House,
) -> None:
    claude = house.sdk()
    skill = await claude.skills.create(files=[("pack/SKILL.md", b"# how", "text/markdown")])
    agent = await claude.beta.agents.create(
        model="claude-haiku-5-5", name="helper", skills=[{"type": "custom", "skill_id": skill.id}]
    )
    assert (await claude.beta.agents.retrieve(agent.id)).id == agent.id
    assert {one.id async for one in claude.skills.list()} == {
        skill.id, "docx", "pdf", "pptx", "xlsx",
    }  # fmt: skip
    assert (await claude.skills.retrieve("pdf")).id == "pdf"
    with pytest.raises(anthropic.NotFoundError):
        await claude.skills.delete("pdf")
    version = await claude.skills.versions.create(
        skill.id, files=[("pack/SKILL.md", b"# better", "text/markdown")]
    )
    listed = [one.id async for one in claude.skills.versions.list(skill.id)]
    assert listed == [version.id]


async def test_what_another_tenant_made_is_nobodys(house: House) -> None:
    one, two = house.sdk(await house.key("one")), house.sdk(await house.key("two"))
    made = await one.files.upload(file=("secret.txt", b"in the vault", "text/plain"))
    assert [item async for item in two.files.list()] == []
    for refused in (
        two.files.retrieve_metadata(made.id),
        two.files.download(made.id),
        two.files.delete(made.id),
        two.beta.agents.create(
            model="m", name="x", skills=[{"type": "custom", "skill_id": made.id}]
        ),
        two.files.retrieve_metadata("file_nobodys"),
    ):
        with pytest.raises(anthropic.NotFoundError):
            await refused
    assert (await one.files.retrieve_metadata(made.id)).id == made.id


async def test_an_id_of_another_hides_in_no_crowd(house: House) -> None:
    one, two = house.sdk(await house.key("one")), house.sdk(await house.key("two"))
    made = await one.skills.create(files=[("pack/SKILL.md", b"# how", "text/markdown")])
    crowd = [f"tool_{number:08}" for number in range(MOST_NAMED)]
    with pytest.raises(anthropic.BadRequestError, match="texts that may be ids"):
        await two.beta.agents.create(
            model="m",
            name="x",
            metadata={"a": crowd},  # type: ignore[dict-item]
            skills=[{"type": "custom", "skill_id": made.id}],
        )


@pytest.mark.parametrize("spelling", ["plain", "escaped", "beside a lone surrogate"])
async def test_no_request_reads_a_file_that_another_tenant_made(
    house: House, spelling: str
) -> None:
    one, two = await house.key("one"), await house.key("two")
    made = await house.sdk(one).files.upload(file=("secret.txt", b"in the vault", "text/plain"))
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, **asking(made.id)}
    raw = json.dumps(body)
    if spelling != "plain":
        raw = raw.replace(made.id, "\\u0066" + made.id[1:]).replace("_id", "\\u005fid")
    if spelling == "beside a lone surrogate":
        raw = raw.replace("What is", "\\ud800 What is")
    before = len(house.asked)
    for path, sent in (
        ("/v1/messages", raw),
        ("/v1/messages", raw.replace('"max_tokens"', '"stream": true, "max_tokens"')),
        ("/v1/messages/count_tokens", raw.replace('"max_tokens": 9,', "")),
        ("/v1/query", json.dumps({"messages": asking(made.id)["messages"]})),
    ):
        other = await house.http.post(path, content=sent, headers={"x-api-key": two})
        if "surrogate" in spelling and path != "/v1/query":
            assert other.status_code == 400  # read here, and it is no JSON
            continue
        assert (other.status_code, made.id in other.text) == (404, True), (path, other.text)
    assert len(house.asked) == before
    if "surrogate" not in spelling:
        mine = await house.http.post("/v1/messages", content=raw, headers={"x-api-key": one})
        assert mine.status_code == 200, mine.text
    profile = {"x-api-key": two, "anthropic-user-profile-id": made.id}
    plain = await house.ask("Who am I?", headers=profile)
    assert plain.status_code == 404


async def test_a_file_that_an_operator_uploaded_elsewhere_may_be_named(house: House) -> None:
    answer = await house.ask(**asking("file_011CNha8iCJcU1wXNR6q4V8w"))
    assert answer.status_code == 200, answer.text


async def test_pages_of_others_are_read_over_so_that_an_sdk_meets_no_empty_one(
    house: House,
) -> None:
    one, two = house.sdk(await house.key("one")), house.sdk(await house.key("two"))
    first = await one.files.upload(file=("first.txt", b"1", "text/plain"))
    for _ in range(5):
        await two.files.upload(file=("x.txt", b"2", "text/plain"))
    last = await one.files.upload(file=("last.txt", b"1", "text/plain"))
    page = await one.files.list(limit=2)
    assert [item.id for item in page.data] == [last.id]
    assert [item.id async for item in one.files.list(limit=2)] == [last.id, first.id]


async def test_pages_are_read_backwards_over_those_of_others_too(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    made = []
    for key in (one, two, two, one, two, two, one):
        file = await house.sdk(key).files.upload(file=("x.txt", b"x", "text/plain"))
        made += [file.id] if key == one else []
    oldest, middle, newest = made  # lists have the newest first

    async def page(**asked: str | int) -> tuple[list[str], bool]:
        headers = {"x-api-key": one, "anthropic-version": "2026-10-21"}
        got = await house.http.get("/v1/files", params=asked, headers=headers)
        return [item["id"] for item in got.json()["data"]], got.json()["has_more"]

    assert await page(limit=1, before_id=oldest) == ([middle], True)
    assert await page(limit=1, before_id=middle) == ([newest], False)
    assert await page(limit=1, before_id=newest) == ([], False)
    assert await page(limit=2, after_id=newest) == ([middle], True)
    assert await page(limit=1, after_id=middle) == ([oldest], False)


async def test_an_erased_tenants_files_are_nobodys_and_others_stay(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    mine = await house.sdk(one).files.upload(file=("a.txt", b"a", "text/plain"))
    theirs = await house.sdk(two).files.upload(file=("b.txt", b"b", "text/plain"))
    erased = await house.http.post("/v1/erase", json={"tenant": "one"}, headers={"x-api-key": one})
    assert erased.json()["removed"]["made"] == 1, erased.text
    with pytest.raises(anthropic.NotFoundError):
        await house.sdk(one).files.retrieve_metadata(mine.id)
    assert (await house.sdk(two).files.retrieve_metadata(theirs.id)).id == theirs.id


async def test_what_is_made_a_second_time_stays_its_first_makers(house: House) -> None:
    owners = house.parts.passthrough
    assert await owners.record("one", "user_profiles", "uprof_1")
    assert await owners.record("one", "user_profiles", "uprof_1")
    assert not await owners.record("two", "user_profiles", "uprof_1")
    assert await owners.owns("one", "user_profiles", "uprof_1")


async def test_only_files_and_skills_are_uploads(house: House) -> None:
    claude = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
    for kind, status in (("agents", 400), ("vaults", 400), ("files", 200)):
        sent = {"file": ("x.txt", b"x")}
        answer = await house.http.post(f"/v1/{kind}", files=sent, headers=claude)
        assert answer.status_code == status, answer.text


async def test_what_was_made_stays_its_makers_after_a_restart(tmp_path: Path) -> None:
    async with House.open(tmp_path) as before:
        key = await before.key("one")
        made = await before.sdk(key).files.upload(file=("a.txt", b"a", "text/plain"))
        owners = before.parts.passthrough
        assert await owners.owns("one", "files", made.id)
    async with House.open(tmp_path) as after:
        assert await after.parts.passthrough.owns("one", "files", made.id)
        assert not await after.parts.passthrough.owns("one", "skills", made.id)
        assert not await after.parts.passthrough.owns("two", "files", made.id)


async def test_a_setting_switches_it_off(tmp_path: Path) -> None:
    async with House.open(tmp_path, features_off=("passthrough",)) as house:
        for path in ("/v1/files", "/v1/sessions/x", "/v1/tomorrow"):
            answer = await house.http.get(path)
            assert (answer.status_code, "CACHESERVER_FEATURES_OFF" in answer.text) == (404, True)
        assert (await house.http.get("/v1/query")).status_code == 405
        described = (await house.http.get("/openapi.json")).json()["paths"]
        assert "/v1/files" not in described
        assert (await house.http.get("/v1/models")).status_code == 200


async def test_what_was_made_before_is_guarded_while_it_is_off(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        one, two = await house.key("one"), await house.key("two")
        made = await house.sdk(one).files.upload(file=("secret.txt", b"in the vault", "text/plain"))
    async with House.open(tmp_path, features_off=("passthrough",)) as house:
        body = {"model": "claude-haiku-5-5", "max_tokens": 9, **asking(made.id)}
        refused = await house.http.post("/v1/messages", json=body, headers={"x-api-key": two})
        assert refused.status_code == 404, refused.text
        assert made.id in refused.json()["error"]["message"]
        assert not house.upstream.requests


async def test_paths_of_ours_stay_ours(house: House) -> None:
    for method, path, status in (
        ("GET", "/v1/query", 405), ("DELETE", "/v1/messages", 405), ("GET", "/v1/query/x", 404),
        ("GET", "/v1/decisions/x/y", 404), ("PATCH", "/v1/entries", 405),
        ("GET", "/v1/files/..%2Fmodels", 404), ("GET", "/v1/files/%2e%2e/models", 404),
    ):  # fmt: skip
        request = house.http.build_request(method, house.url)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert (await house.http.send(request)).status_code == status, (method, path)
    assert not [r for r in house.upstream.requests if r.path != "/v1/models"]
