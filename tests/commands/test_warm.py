"""`cacheserver warm`: a source's answers are found by the requests that the options name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cacheserver.storage.connection import Connection, command
from tests.commands.conftest import Shell
from tests.house import MODEL, House, came_from
from tests.transfer.imports import REQUEST, SYSTEM, curate
from tests.transfer.test_logs import line
from tests.transfer.test_other_caches import store

FAQ = """question,answer,tags
How do I return an order?,"By post, within 30 days.",returns
Which cards do you take?,All but cheques.,
Which cards do you take?,All but cheques.,
Which cards do you take?,Only cash.,
,No question.,
Where is my order?,On its way.,
"""
TO = ("--tenant", "shop", "--model", MODEL, "--max-tokens", "100", "--system", SYSTEM)
ASKED = "How do I return an order?"


async def test_a_faq_is_warmed_found_and_undone(house: House, shell: Shell, tmp_path: Path) -> None:
    key = await house.key("shop")
    (tmp_path / "faq.csv").write_text(FAQ)
    (tmp_path / "more.md").write_text("## Do you ship to Malta?\n\nYes.\n")
    files = [str(tmp_path / name) for name in ("faq.csv", "more.md")]
    done = await shell("warm", *files, *TO, "--tag", "faq", "--ttl", "600", "--json")
    assert done.status == 0, done.err
    assert done.json.items() >= {"stored": 3, "refused": 1, "repeated": 1, "left_out": 3}.items()
    for said in (
        "no such request was answered here before",
        "faq.csv:5: has another answer to the question of faq.csv:3",
        "faq.csv:6: has no question",
        "faq.csv:7: such a request is not answered from the cache: volatile-personal",
    ):
        assert said in done.err
    for question in (ASKED, "Do you ship to Malta?"):
        assert came_from(await house.ask(question, key=key, system=SYSTEM))[0] == "exact"
    listed = await shell("import", "--list", "--tenant", "shop")
    assert listed.out.splitlines()[1].split()[:2] == [done.json["import"], "done"]
    undone = await shell("import", "--undo", done.json["import"], "--tenant", "shop")
    assert undone.out == "3 entries and 0 labels removed\n"
    assert came_from(await house.ask(ASKED, key=key, system=SYSTEM))[0] == "miss"


async def test_an_operators_answer_stands_unless_replace_is_said(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    key = await house.key("shop")
    path = tmp_path / "faq.md"
    path.write_text(f"## {ASKED}\n\nBy post.\n")
    assert (await shell("warm", str(path), *TO)).status == 0
    await curate(house, ASKED, "Ask Ann.")
    for option, count, text in (
        ((), "conflict", "Ask Ann."),
        (("--replace",), "replaced", "By post."),
    ):
        done = await shell("warm", str(path), *TO, *option)
        assert done.status == 0, done.err
        assert done.out.splitlines()[0].startswith(f"1 {count}")
        assert ("an operator has curated" in done.err) is (count == "conflict")
        hit = await house.ask(ASKED, key=key, system=SYSTEM)
        assert hit.json()["content"][0]["text"] == text


async def test_a_dry_run_only_reads(house: House, shell: Shell, tmp_path: Path) -> None:
    await house.key("shop")
    (tmp_path / "faq.csv").write_text(FAQ)
    done = await shell("warm", str(tmp_path / "faq.csv"), "--tenant", "shop", "--dry-run")
    assert done.out == "3 records, 1 repeated, 2 left out\n"
    nothing = await shell("import", "--list", "--tenant", "shop", "--json")
    assert nothing.json == {"items": [], "next": None}


async def test_an_import_that_was_cut_goes_on(house: House, shell: Shell, tmp_path: Path) -> None:
    await house.key("shop")
    path = tmp_path / "faq.jsonl"
    lines = [
        json.dumps({"question": f"What is the size of box {n}?", "answer": f"{n} cm."})
        for n in range(1_200)
    ]
    path.write_text("\n".join(lines[:700]))
    first = await shell("warm", str(path), *TO, "--json")
    assert first.json["stored"] == 700
    # As if the server had gone after the first batch: the import is open, and has 500 records.
    state = house.parts.host.store
    state_key = f"{state.prefix}import:4:shop:{first.json['import']}"
    await state.redis.hset(state_key, items=["state", "open", "done", 500, "stored", 500])
    path.write_text("\n".join(lines))
    done = await shell("warm", str(path), *TO, "--resume", first.json["import"], "--json")
    assert (done.status, done.json["stored"], done.json["refused"]) == (0, 1_200, 0)


async def test_what_names_no_request_or_file_says_what_to_do(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await house.key("shop")
    faq = tmp_path / "faq.csv"
    faq.write_text(FAQ)
    for words, says in (
        ((str(faq), "--tenant", "shop"), "--model"),
        ((str(tmp_path / "none.csv"), *TO), "No such file"),
        ((str(faq), *TO, "--header", "x"), "NAME: VALUE"),
        ((str(faq), "--tenant", "shop", "--request", str(faq)), "is no JSON"),
        ((str(faq), "--tenant", "nobody", "--model", MODEL), "nobody"),
        ((str(tmp_path), "--from", "gptcache", *TO), "no sqlite.db"),
    ):
        done = await shell("warm", *words)
        assert (done.status, says in done.err) == (2, True), (done.err, words)


async def test_a_request_of_the_application_is_taken_from_a_file(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    key = await house.key("shop")
    (tmp_path / "faq.csv").write_text(FAQ)
    messages = [{"role": "user", "content": "Customer: {question}"}]
    (tmp_path / "request.json").write_text(json.dumps({**REQUEST, "messages": messages}))
    request = ("--request", str(tmp_path / "request.json"), "--namespace", "faq")
    done = await shell("warm", str(tmp_path / "faq.csv"), "--tenant", "shop", *request)
    assert done.status == 0, done.err
    asked = {"key": key, "system": SYSTEM}
    for space, kind in (("faq", "exact"), ("default", "miss")):
        got = await house.ask(f"Customer: {ASKED}", headers={"x-cache-namespace": space}, **asked)
        assert came_from(got)[0] == kind


async def test_a_line_break_at_the_end_of_the_system_prompt_is_said(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await house.key("shop")
    (tmp_path / "faq.csv").write_text(
        "question,answer\nWhere is my order?,On its way.\nOpen?,Yes.\n"
    )
    to = ("warm", str(tmp_path / "faq.csv"), "--tenant", "shop", "--model", MODEL)
    for text, said in (("Be kind.\n", True), ("Be kind.", False)):
        (tmp_path / "system.txt").write_text(text)
        done = await shell(*to, "--system-file", str(tmp_path / "system.txt"))
        assert ("ends with a line break" in done.err) is said
        assert done.out.startswith("1 stored, 1 refused\nundo: ")  # each record is counted once


async def test_logs_and_another_cache_are_sources(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    key = await house.key("shop")
    (tmp_path / "log.jsonl").write_text(line("Capital of Peru?", house.parts.clock() - 60))
    logs = await shell("warm", str(tmp_path / "log.jsonl"), "--from", "logs", "--tenant", "shop")
    assert (logs.status, logs.out.splitlines()[0][:8]) == (0, "1 stored"), logs.err
    (tmp_path / "gpt").mkdir()
    other = await shell("warm", str(store(tmp_path / "gpt")), "--from", "gptcache", *TO, "--json")
    assert (other.json["stored"], other.json["left_out"]) == (3, 3), other.err
    for question in ("Capital of Peru?", ASKED):
        assert came_from(await house.ask(question, key=key, system=SYSTEM))[0] == "exact"


async def test_an_import_is_named_by_its_cache_and_never_by_a_password(
    house: House, shell: Shell, redis: Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.key("shop")
    await command(redis, "HSET", "faq:a", "prompt", ASKED, "response", "By post.")
    await command(redis, "CONFIG", "SET", "requirepass", "secret")
    monkeypatch.setenv("REDISCLI_AUTH", "secret")
    try:
        done = await shell("warm", url, "--from", "redisvl", "--index", "faq", *TO, "--json")
    finally:
        await command(redis, "CONFIG", "SET", "requirepass", "")
    assert done.json["stored"] == 1, done.err
    listed = await shell("import", "--list", "--tenant", "shop", "--json")
    assert [one["source"] for one in listed.json["items"]] == ["faq"]
    assert "secret" not in done.out + done.err
