"""The command line as a shell sees it: processes, exit statuses, and what is on which stream."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cli import main
from cacheserver.core.types import Tenant
from cacheserver.embedded.store import EmbeddedStore, running_url
from cacheserver.storage.connection import connect
from cacheserver.tenants.admin_keys import AdminKeys
from cacheserver.tenants.audit_trail import AuditFilter, AuditTrail
from cacheserver.tenants.store import Tenants
from tests.house import ADMIN_KEY, House
from tests.redis_servers import ENGINES, serving

SECRET = "redis-password-0123456789"


class Shell:
    """Runs `cacheserver` with nothing in its environment but what is set here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.variables = {"CACHESERVER_DATA_DIR": str(directory / "data")}

    def run(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cacheserver", *args],
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).parents[1]),
                **self.variables,
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with serving(ENGINES["valkey"]) as address:
        yield address


@pytest.fixture
async def tenants(redis_url: str) -> AsyncIterator[Tenants]:
    client = connect(redis_url)
    yield Tenants(client, defaults=Tenant(name="default"))
    await client.aclose()


async def test_a_key_that_was_created_lets_its_tenant_in_until_it_is_revoked(
    shell: Shell, redis_url: str, tenants: Tenants
) -> None:
    shell.variables["CACHESERVER_REDIS_URL"] = redis_url
    created = shell.run("key", "create", "--tenant", "acme", "--label", "laptop")
    assert created.returncode == 0, created.stderr
    plain = created.stdout.strip()
    key = await tenants.key(plain)
    assert key is not None
    assert (key.tenant, key.label) == ("acme", "laptop")
    assert plain not in created.stderr
    assert "No server runs" not in created.stderr

    listed = shell.run("key", "list")
    assert listed.stdout.split()[0] == key.id
    assert "acme  laptop" in listed.stdout
    assert plain not in listed.stdout

    revoked = shell.run("key", "revoke", key.id)
    assert (revoked.returncode, revoked.stderr) == (0, "")
    assert await tenants.list_keys() == []
    again = shell.run("key", "revoke", key.id)
    assert again.returncode == 2
    assert key.id in again.stderr


async def test_a_key_is_rotated_limited_and_shown_with_all_of_it(shell: Shell) -> None:
    made = json.loads(
        shell.run("key", "create", "--tenant", "acme", "--expires", "90d", "--json").stdout
    )
    first = made["key"]
    assert (made["tenant"], made["last_used"]) == ("acme", None)
    id = shell.run("key", "list").stdout.split()[0]
    rotated = shell.run("key", "rotate", id, "--overlap", "24h")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.strip() not in ("", first)
    assert shell.run("key", "limit", id, "--requests-per-minute", "60").returncode == 0
    (line,) = shell.run("key", "list").stdout.splitlines()
    assert line.startswith(id)
    for part in ("used never", "expires 2", "the one before it until 2", "requests_per_minute 60"):
        assert part in line
    for wrong in (["--overlap", "24 h"], ["--overlap", "31d"], ["--expires", "yesterday"]):
        done = shell.run("key", "rotate", id, *wrong)
        assert done.returncode == 2
        assert f"`{wrong[0].removeprefix('--')}`" in done.stderr
    done = shell.run("key", "limit", id, "--requests-per-minute", "0")
    assert "`limits.requests_per_minute`" in done.stderr


async def test_an_admin_key_is_created_listed_and_revoked_and_all_of_it_recorded(
    shell: Shell, redis_url: str, tenants: Tenants
) -> None:
    shell.variables["CACHESERVER_REDIS_URL"] = redis_url
    created = shell.run("admin-key", "create", "--name", "ann", "--role", "tune")
    assert created.returncode == 0, created.stderr
    plain = created.stdout.strip()
    keys, trail = AdminKeys(tenants._redis), AuditTrail(tenants._redis)
    key = await keys.find(plain)
    assert key is not None
    assert (key.name, key.role, key.expires_at) == ("ann", "tune", None)
    listed = shell.run("admin-key", "list").stdout
    assert listed.split()[0] == key.id
    assert plain not in listed
    revoked = shell.run("admin-key", "revoke", key.id, "--json")
    assert json.loads(revoked.stdout)["name"] == "ann"
    assert await keys.list() == []
    found, _ = await trail.page(AuditFilter(), limit=2)
    assert [(one["route"], one["target"]) for one in found] == [
        ("cacheserver admin-key revoke", {"id": key.id}),
        ("cacheserver admin-key create", {"name": "ann", "role": "tune"}),
    ]
    assert all(one["who"].startswith("command line (") for one in found)
    assert plain not in str(found)


async def test_only_said_out_loud_is_a_server_opened_again(shell: Shell) -> None:
    shell.run("key", "create", "--tenant", "acme")
    id = shell.run("key", "list").stdout.split()[0]
    note = shell.directory / "data" / "access"
    assert note.read_text() == "1:needed\n"
    assert shell.run("key", "open").returncode == 2
    refused = shell.run("key", "open", "--yes")
    assert refused.returncode == 2
    assert "revoke" in refused.stderr
    shell.run("key", "revoke", id)
    assert note.read_text() == "1:needed\n"
    assert shell.run("key", "open", "--yes").returncode == 0
    assert note.read_text() == "2:open\n"


async def test_keys_are_kept_in_the_data_directory_with_no_server_running(shell: Shell) -> None:
    created = shell.run("key", "create", "--tenant", "acme")
    assert created.returncode == 0, created.stderr
    assert f"No server runs on the data in {shell.directory / 'data'}" in created.stderr
    assert running_url(shell.directory / "data") is None
    assert "acme" in shell.run("key", "list").stdout


async def test_keys_are_created_beside_a_server_that_runs(shell: Shell) -> None:
    store = EmbeddedStore(shell.directory / "data")
    client = connect(await store.start())
    try:
        created = shell.run("key", "create", "--tenant", "acme")
        assert created.returncode == 0, created.stderr
        found = await Tenants(client, defaults=Tenant(name="default")).key(created.stdout.strip())
    finally:
        await client.aclose()
        await store.stop()
    assert found is not None
    assert found.tenant == "acme"
    assert "No server runs" not in created.stderr


@pytest.mark.parametrize(
    ("args", "variables", "says"),
    [
        (["serve"], {"CACHESERVER_PORT": "http"}, "CACHESERVER_PORT"),
        (["serve"], {"CACHESERVER_PROT": "1"}, "CACHESERVER_PORT"),
        (["serve"], {"CACHESERVER_PORT": "0"}, "ANTHROPIC_API_KEY"),
        (["settings"], {"CACHESERVER_TOP_K": "0"}, "CACHESERVER_TOP_K"),
        (["key", "create", "--tenant", "a/b"], {}, "tenant"),
    ],
)
def test_what_goes_wrong_is_one_line_and_status_2(
    shell: Shell, args: list[str], variables: dict[str, str], says: str
) -> None:
    done = shell.run(*args, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cacheserver: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_store_that_is_away_is_status_3(shell: Shell) -> None:
    done = shell.run("key", "list", CACHESERVER_REDIS_URL="unix:///nowhere/redis.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no such socket" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args", [[], ["fly"], ["key"], ["key", "create"], ["key", "revoke"], ["serve", "--fast"]]
)
def test_a_usage_error_is_status_2(shell: Shell, args: list[str]) -> None:
    done = shell.run(*args)
    assert done.returncode == 2
    assert "usage: cacheserver" in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["query", "What", "now"], ("usage: cacheserver query ", "unrecognized arguments: now")),
        (["bar", "show", "a"], ("usage: cacheserver bar show ", "--tenant")),
        (["key", "list", "--al"], ("usage: cacheserver key list ", "--al")),
        (["entires"], ("there is no 'entires'; did you mean 'entries'?",)),
        (["key", "craete"], ("usage: cacheserver key ", "did you mean 'create'?")),
        (["xyzzy"], ("invalid choice: 'xyzzy'",)),
    ],
)
def test_a_usage_error_is_said_with_the_usage_of_its_command(
    shell: Shell, args: list[str], says: tuple[str, ...]
) -> None:
    done = shell.run(*args)
    assert done.returncode == 2
    assert all(one in done.stderr for one in says), done.stderr


@pytest.mark.parametrize("args", [["--help"], ["key", "--help"], ["simulate-claude", "--help"]])
def test_help_is_no_error(shell: Shell, args: list[str]) -> None:
    done = shell.run(*args)
    assert done.returncode == 0
    assert "usage: cacheserver" in done.stdout


def test_settings_in_force_are_shown_without_secrets(shell: Shell) -> None:
    (shell.directory / "cacheserver.toml").write_text("port = 9000")
    unread = shell.run("settings")
    assert "CACHESERVER_PORT=8080" in unread.stdout
    assert "cacheserver.toml is not read" in unread.stderr
    shown = shell.run(
        "settings",
        "--config",
        "cacheserver.toml",
        CACHESERVER_REDIS_URL=f"redis://:{SECRET}@h",
        ANTHROPIC_API_KEY=SECRET,
    )
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert "CACHESERVER_PORT=9000" in lines
    assert "CACHESERVER_REDIS_URL=(set)" in lines
    assert "CACHESERVER_ANTHROPIC_API_KEY=(set)" in lines
    assert SECRET not in shown.stdout + shown.stderr


def test_with_the_client_alone_installed_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pydantic'] = None; from cacheserver.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['settings']))"],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "cacheserver: pydantic is not installed; install cacheserver's extra `server`\n"
    )


def test_a_prompt_and_a_plan_are_priced_before_they_are_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, wrong = tmp_path / "body.json", tmp_path / "wrong.json"
    question = {"role": "user", "content": "x" * 250}
    asked = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [question]}
    body.write_text(json.dumps(asked))
    assert main(["estimate", "--json", str(body)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["input_tokens"], found["least_usd"]) == (100, "0.000010000")
    assert found["most_usd"] == "0.000015000"  # 10 tokens at 0.50 dollars a million
    wrong.write_text("{")
    assert main(["estimate", str(wrong)]) == 2
    assert "wrong.json" in capsys.readouterr().err
    wrong.write_text("[]")
    assert main(["estimate", str(wrong)]) == 2
    wrong.write_text('{"messages": []}')
    assert main(["estimate", str(wrong)]) == 2
    assert "`model`" in capsys.readouterr().err


def test_a_text_and_lines_are_priced_at_the_operators_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def priced(*words: str) -> dict[str, Any]:
        assert main(["estimate", "--json", *words]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    text, lines, table = tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "prices.toml"
    text.write_text("x" * 250)
    assert priced(str(text), "--max-tokens", "10")["most_usd"] == "0.000015000"
    assert priced(str(text), "--max-tokens", "10", "--batch")["most_usd"] == "0.000007500"
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "x" * 250}],
    }
    lines.write_text(f"{json.dumps(body)}\n\n{json.dumps({'custom_id': 'a', 'params': body})}\n")
    found = priced(str(lines))
    assert (found["requests"], found["input_tokens"], found["most_usd"]) == (2, 200, "0.000030000")
    table.write_text(
        '[[price]]\nmodel = "claude-haiku-5-5"\ninput = 1\noutput = 5\ncache_write_5m = 1\n'
        "cache_write_1h = 1\ncache_read = 1\n"
    )
    assert priced(str(lines), "--prices", str(table))["most_usd"] == "0.000300000"
    monkeypatch.setenv("CACHESERVER_PRICES", str(table))
    assert priced(str(lines))["most_usd"] == "0.000300000"
    table.write_text("rate = 1")
    assert main(["estimate", str(lines)]) == 2
    assert "line 1: `rate`" in capsys.readouterr().err
    monkeypatch.delenv("CACHESERVER_PRICES")
    lines.write_text(f"{json.dumps(body)}\nnot json\n")
    assert main(["estimate", str(lines)]) == 2
    assert "`line 2`: must be one JSON object" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["settings", "--markdown"], ["settings"]])
def test_a_reader_who_has_enough_is_no_error(command: list[str], tmp_path: Path) -> None:
    """Of much and of little, which waits for the end in a buffer."""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        [sys.executable, "-m", "cacheserver.cli", *command],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


async def test_an_erasure_is_done_by_the_server_that_runs(shell: Shell, tmp_path: Path) -> None:
    async with House.open(tmp_path / "house") as house:
        key = await house.key("acme")
        for name in ("ann", "bob"):
            await house.ask(f"Where is {name}?", key=key, headers={"x-cache-actor": name})

        async def erase(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
            given = {"CACHESERVER_ADMIN_KEY": ADMIN_KEY, **variables}
            command = ("erase", "--tenant", "acme", "--yes", "--json", "--url", house.url, *args)
            return await asyncio.to_thread(shell.run, *command, **given)

        done = await erase("--actor", "ann")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["removed"]["answers"] == 1
        only = {"cache-control": "only-if-cached"}
        assert (await house.ask("Where is ann?", key=key, headers=only)).status_code == 404
        assert (await house.ask("Where is bob?", key=key, headers=only)).status_code == 200
        assert json.loads((await erase("--all")).stdout)["removed"]["answers"] == 1
        for wrong, said in (
            ((), "--actor"),
            (("--tag", "a", "--actor", "b"), "--actor"),
            (("--entry-id", "x"), "entry_id"),
        ):
            refused = await erase(*wrong)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert said in refused.stderr
        for confirm, status in (("other", 2), ("acme", 0)):
            args = ("tenant", "delete", "acme", "--confirm", confirm, "--json", "--url", house.url)
            given = {"CACHESERVER_ADMIN_KEY": ADMIN_KEY}
            gone = await asyncio.to_thread(shell.run, *args, **given)
            assert gone.returncode == status, gone.stderr
        assert len(json.loads(gone.stdout)["revoked_keys"]) == 1
        assert (await house.ask(key=key)).status_code == 401
        refused = await erase("--all", CACHESERVER_ADMIN_KEY="another-admin-key")
        assert (refused.returncode, refused.stdout) == (2, "")
    away = await erase("--all")
    assert away.returncode == 3
    assert "Traceback" not in away.stderr
