"""`cacheserver query`, and how every command finds its server and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.conftest import Shell
from tests.house import ADMIN_KEY, House

QUESTION = "What is the capital of France?"


async def test_an_answer_is_on_stdout_and_its_source_and_saving_beside_it(
    house: House, shell: Shell
) -> None:
    first = await shell("query", QUESTION, "--tag", "geo")
    again = await shell("query", typed=f"{QUESTION}\n", terminal=False)
    assert (first.status, again.status) == (0, 0), first.err + again.err
    assert QUESTION in first.out
    assert "[miss (empty), cost $0.0000" in first.err
    # A line end more is another text, and the same question.
    assert "[semantic (" in again.err or "[exact (" in again.err
    assert again.out == first.out
    assert len(house.asked) == 1
    shown = (await shell("query", QUESTION, "--json")).json
    assert (shown["decision"]["kind"], shown["cost_usd"]) == ("exact", "0.000000000")
    listed = (await shell("entries", "--tag", "geo", "--json")).json
    assert [one["question"] for one in listed["items"]] == [QUESTION]


async def test_a_stream_is_printed_and_its_decision_told(shell: Shell) -> None:
    done = await shell("query", QUESTION, "--stream")
    assert done.status == 0
    assert QUESTION in done.out
    assert done.out.endswith("\n")
    assert done.err == "[miss (empty)]\n"


async def test_nothing_stored_is_a_no_and_no_question_is_wrong(house: House, shell: Shell) -> None:
    missed = await shell("query", QUESTION, "--cache", "only")
    assert (missed.status, missed.out) == (1, "")
    assert not house.asked
    for words, typed, terminal in (((), "", True), ((), " \n", False), (("-",), "\udcff", False)):
        assert (await shell("query", *words, typed=typed, terminal=terminal)).status == 2
    assert (await shell("query", QUESTION, "--max-tokens", "-5")).status == 2


async def test_a_key_is_read_from_a_file_or_the_environment_and_never_an_argument(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    key = await house.key("acme")
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    shell.point(house, admin=False)
    assert (await shell("query", QUESTION)).status == 2  # 401
    assert (await shell("query", QUESTION, "--key-file", str(file))).status == 0
    shell.point(house, admin=False, key=key)
    assert (await shell("query", QUESTION)).status == 0
    assert (await shell("query", QUESTION, "--key", key)).status == 2
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path in (empty, tmp_path / "gone"):
        refused = await shell("query", QUESTION, "--key-file", str(path))
        assert (refused.status, "`--key-file`" in refused.err) == (2, True)
    # The tenant's key shows the tenant's own; `--tenant` asks for an admin's.
    stats = (await shell("stats", "--json")).json
    assert (stats["tenant"], stats["hits"]["requests"]) == ("acme", 2)
    refused = await shell("stats", "--tenant", "acme")
    assert refused.status == 2
    assert "CACHESERVER_ADMIN_KEY" in refused.err
    file.write_text(ADMIN_KEY)
    admins = await shell("stats", "--tenant", "acme", "--json", "--admin-key-file", str(file))
    assert admins.json["hits"]["requests"] == 2
    refused = await shell("tenant", "list")
    assert refused.status == 2
    assert "--admin-key-file" in refused.err


async def test_a_server_that_is_away_is_status_3_and_a_wrong_address_2(
    house: House, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHESERVER_URL", "http://127.0.0.1:9")
    away = await shell("query", QUESTION)
    assert (away.status, away.out) == (3, "")
    assert "http://127.0.0.1:9" in away.err
    for wrong in ("ftp://x", "http://127.0.0.1:port"):
        assert (await shell("query", QUESTION, "--url", wrong)).status == 2
    monkeypatch.setenv("CACHESERVER_API_KEY", "two\nlines")
    refused = await shell("query", QUESTION)
    assert (refused.status, "`key`" in refused.err) == (2, True)
    monkeypatch.delenv("CACHESERVER_API_KEY")
    assert (await shell("query", QUESTION, "--url", house.url)).status == 0
    # Without an address it is that of a server here with the same environment.
    monkeypatch.delenv("CACHESERVER_URL")
    monkeypatch.setenv("CACHESERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("CACHESERVER_PORT", house.url.rpartition(":")[2])
    assert (await shell("query", QUESTION)).status == 0


async def test_the_address_and_admin_key_come_from_the_servers_own_file(
    house: House, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CACHESERVER_URL")
    monkeypatch.delenv("CACHESERVER_ADMIN_KEY")
    (tmp_path / "key").write_text(ADMIN_KEY)
    file = tmp_path / "server.toml"
    port = house.url.rpartition(":")[2]
    file.write_text(f"port = {port}\nadmin_key_file = {json.dumps(str(tmp_path / 'key'))}\n")
    done = await shell("tenant", "list", "--config", str(file))
    assert done.status == 0, done.err


async def test_what_would_move_the_cursor_is_shown_as_text(house: House, shell: Shell) -> None:
    answer = await house.ask("Hide\x1b[2Jme\u202eplease?")  # which the simulated Claude repeats
    done = await shell("entries", answer.headers["x-cache-entry"], "--tenant", "default")
    assert "\x1b" not in done.out
    assert "Hide<U+001B>[2Jme<U+202E>please?" in done.out
