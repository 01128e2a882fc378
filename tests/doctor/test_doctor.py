"""`cacheserver doctor` on machines that lack something."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cli import main
from cacheserver.doctor import machine, network, parts
from cacheserver.doctor.check import Check, first_to_fix
from cacheserver.simulated import Simulated, SimulatedSettings
from tests.house import ADMIN_KEY, House, serving
from tests.models import model_dir
from tests.redis_servers import ENGINES
from tests.redis_servers import serving as redis_serving


@pytest.fixture
def machine_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the environment of a machine that is ready to serve, on a port that nobody has."""
    for name, value in {
        "CACHESERVER_UPSTREAM": "simulated",
        "CACHESERVER_DATA_DIR": str(tmp_path / "data"),
        "CACHESERVER_MODEL_DIR": str(model_dir()),
        "CACHESERVER_PORT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("CACHESERVER_CONFIG", "CACHESERVER_ADMIN_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its status and its report with the checks by name."""
    capsys.readouterr()
    status = await asyncio.to_thread(main, ["doctor", "--json", *words])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    report["checks"] = {one["name"]: one for one in report["checks"]}
    return status, report


async def test_a_machine_that_is_ready_has_nothing_to_fix(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    machine_here.setenv("CACHESERVER_ADMIN_KEY", ADMIN_KEY)
    status, report = await doctor(capsys)
    assert (status, report["fix_first"]) == (0, None), report
    assert report["checks"]["model"]["status"] == "ok"
    assert not (tmp_path / "data").exists()  # it makes nothing
    assert await asyncio.to_thread(main, ["doctor", "--offline"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("ok    install")
    assert told.err == "Nothing to fix.\n"


async def test_more_workers_than_cores_are_a_warning(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = await doctor(capsys, "--offline")
    assert "workers" not in report["checks"]
    machine_here.setenv("CACHESERVER_WORKERS", "64")
    machine_here.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    status, report = await doctor(capsys, "--offline")
    assert (status, report["checks"]["workers"]["status"]) == (0, "warning")
    assert "`CACHESERVER_WORKERS` to 2" in report["checks"]["workers"]["do"]


@pytest.mark.parametrize(
    ("variables", "name", "says"),
    [
        ({"CACHESERVER_PROT": "1"}, "settings", "CACHESERVER_PORT"),
        ({"CACHESERVER_DATA_DIR": "/dev/null/data"}, "disk", "CACHESERVER_DATA_DIR"),
        ({"CACHESERVER_REDIS_URL": "redis://127.0.0.1:9"}, "store", "nothing listens there"),
        ({"CACHESERVER_HOST": "0.0.0.0"}, "keys", "cacheserver key create"),
        ({"CACHESERVER_MODEL_DIR": "/nowhere"}, "model", "CACHESERVER_MODEL_DIR"),
        ({"CACHESERVER_UPSTREAM": "http://127.0.0.1:9"}, "upstream", "ConnectError"),
        ({"CACHESERVER_UPSTREAM": "anthropic"}, "upstream", "ANTHROPIC_API_KEY"),
    ],
)
async def test_what_is_missing_is_the_first_to_fix(
    machine_here: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    name: str,
    says: str,
) -> None:
    machine_here.setenv("CACHESERVER_ADMIN_KEY", ADMIN_KEY)
    for variable, value in variables.items():
        machine_here.setenv(variable, value)
    status, report = await doctor(capsys)
    assert (status, report["fix_first"]) == (1, name), report
    assert says in str(report["checks"][name])


async def test_without_a_model_a_server_serves_equal_requests_and_that_is_a_warning(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine_here.setenv("CACHESERVER_ADMIN_KEY", ADMIN_KEY)
    machine_here.delenv("CACHESERVER_MODEL_DIR")
    status, report = await doctor(capsys)
    assert (status, report["fix_first"]) == (0, "model"), report


async def test_a_port_that_another_program_has_is_found(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        machine_here.setenv("CACHESERVER_PORT", str(other.getsockname()[1]))
        with machine_here.context() as patch:
            patch.setattr(network, "_TIMEOUT_S", 0.2)  # the other one never answers
            _, report = await doctor(capsys)
        assert report["fix_first"] == "server"
        assert machine.check_port("127.0.0.1", other.getsockname()[1]).status == "failed"
    async with serving(Simulated(SimulatedSettings()).app) as url:
        found = await asyncio.to_thread(network.check_server, url, None)
    assert found is not None
    assert [(one.name, one.status) for one in found] == [("port", "failed")]


async def test_the_store_is_asked_and_its_keys_are_counted(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis_serving(ENGINES["valkey"]) as url:
        machine_here.setenv("CACHESERVER_REDIS_URL", url)
        _, report = await doctor(capsys, "--offline")
        assert report["fix_first"] == "keys"
        assert "CACHESERVER_ADMIN_KEY" in report["checks"]["keys"]["found"]
        create = ["key", "create", "--tenant", "acme"]
        assert await asyncio.to_thread(main, create) == 0
        machine_here.setenv("CACHESERVER_HOST", "0.0.0.0")
        machine_here.setenv("CACHESERVER_ADMIN_KEY", ADMIN_KEY)
        status, report = await doctor(capsys, "--offline")
    assert (status, report["fix_first"]) == (0, None)
    assert report["checks"]["store"]["found"].startswith("CACHESERVER_REDIS_URL: version ")
    assert report["checks"]["keys"]["found"].startswith("1 tenant key,")


async def test_a_running_server_tells_its_health_and_version(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(key: str | None) -> dict[str, Check]:
        checks = await asyncio.to_thread(network.check_server, house.url, key)
        assert checks is not None
        return {one.name: one for one in checks}

    checks = await found(ADMIN_KEY)
    assert {one.status for one in checks.values()} <= {"ok", "warning"}
    assert {"server", "versions", "server: store", "server: index"} <= checks.keys()
    assert (await found(None))["health"].status == "skipped"
    assert (await found("another"))["health"].status == "warning"
    monkeypatch.setattr(network, "installed_version", lambda: "0.0.9")
    assert (await found(ADMIN_KEY))["versions"].status == "warning"


async def test_a_key_that_claude_refuses_is_named(
    machine_here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = Simulated(SimulatedSettings())
    async with serving(simulated.app) as url:
        machine_here.setenv("CACHESERVER_UPSTREAM", url)
        machine_here.setenv("ANTHROPIC_API_KEY", "sk-ant-of-this-test")
        _, report = await doctor(capsys)
        assert report["checks"]["upstream"]["found"] == f"{url}: status 200, key accepted"
        assert "sk-ant" not in str(report)
        for name, value in {
            "CACHESERVER_UPSTREAM": "bedrock",
            "CACHESERVER_UPSTREAM_REGION": "ap-south-1",  # boto keeps what it found for a region
            "CACHESERVER_UPSTREAM_ENDPOINT": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            "AWS_CONFIG_FILE": "/nowhere",
        }.items():
            machine_here.setenv(name, value)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            machine_here.delenv(name, raising=False)
        asked = len(simulated.requests)
        _, report = await doctor(capsys)
        assert report["checks"]["upstream"]["status"] == "failed", report
        assert "no credentials for Amazon Bedrock" in report["checks"]["upstream"]["found"]
        assert len(simulated.requests) == asked  # the key of Anthropic is not shown to a cloud
    assert network._answered("u", 401, with_key=True).status == "failed"
    assert network._answered("u", 401, with_key=False).status == "ok"
    assert network._answered("u", 503, with_key=True).status == "warning"


def test_clocks_apart_and_full_disks_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [parts.check_clock("x", apart).status for apart in (4.9, 5.0)] == ["ok", "warning"]
    for free, status in ((2e9, "ok"), (5e8, "warning"), (5e7, "failed")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("shutil.disk_usage", lambda place, usage=usage: usage)
        assert machine.check_data_dir(tmp_path / "not" / "yet").status == status


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MODULES", ("orjson", "no_such_package"))
    found = machine.check_installation()
    assert found.status == "failed"
    assert "no_such_package" in found.found
    assert "orjson" not in found.found


def test_a_fault_goes_before_a_warning_that_came_first() -> None:
    checks = [Check("a", "warning", "", "x"), Check("b", "failed", "", "y"), Check("c", "ok", "")]
    assert first_to_fix(checks) == checks[1]
    assert first_to_fix(checks[:1]) == checks[0]
    assert first_to_fix(checks[2:]) is None
