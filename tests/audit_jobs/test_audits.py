"""Audits of uploaded logs, through the front door, in real processes."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.audit_jobs.folder import AuditFolder
from cacheserver.audit_jobs.job import AuditJob, AuditOptions
from cacheserver.core.errors import DiskFull
from tests.analysis.audit.records import pair
from tests.api.admin import ADMIN
from tests.house import Clock, House
from tests.nocontent.traffic import opened, without_content

PATH = "/admin/v1/audits"
SECRET = "What is the capital of Atlantis?"


def log(*lines: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"


# A repeat within the hour: an exact hit saves the second.
TWICE = log(
    pair(SECRET, at="2026-11-02T10:00:00Z"),
    pair(SECRET, at="2026-11-02T10:05:00Z"),
    pair("Name a colour.", at="2026-11-02T10:06:00Z"),
)


async def upload(house: House, raw: bytes = TWICE, **given: Any) -> httpx2.Response:
    params = {"name": "day.jsonl", **given}
    return await house.http.post(PATH, content=raw, params=params, headers=ADMIN)


async def taken(house: House, raw: bytes = TWICE, **given: Any) -> str:
    got = await upload(house, raw, **given)
    assert got.status_code == 202, got.text
    return str(got.json()["id"])


async def shown(house: House, id: str) -> dict[str, Any]:
    got = await house.http.get(f"{PATH}/{id}", headers=ADMIN)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def ended(house: House, id: str) -> dict[str, Any]:
    """The job, once its process has ended."""
    async with asyncio.timeout(120):
        while (found := await shown(house, id))["ended_at"] is None:
            if (running := house.parts.audit_jobs._running) is not None:
                await asyncio.wait({running[1]})
    return found


async def running(house: House, id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := await shown(house, id))["state"] == "queued":
            pass
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "audits").rglob("*") if path.is_file()]


async def test_an_uploaded_log_is_audited_and_only_its_report_stays(
    house: House, tmp_path: Path
) -> None:
    got = await upload(house, one_tenant="true", ttl_s="7200")
    assert got.status_code == 202, got.text
    job = got.json()
    assert got.headers["location"] == f"{PATH}/{job['id']}"
    assert (job["state"], job["bytes"], job["name"]) == ("queued", len(TWICE), "day.jsonl")
    assert job["options"]["ttl_s"] == 7_200
    found = await ended(house, job["id"])
    assert (found["state"], found["error"]) == ("done", None)
    report = found["report"]
    assert report["read"]["requests"] == 3
    assert report["requests_by_kind"]["exact"] == 1
    assert found["summary"]["spent_usd"] == report["spent_usd"]
    assert float(found["summary"]["saved_usd"]) > 0
    assert found["expires_at"] == found["ended_at"] + 7 * 86_400
    page = await house.http.get(f"{PATH}/{job['id']}/page", headers=ADMIN)
    assert page.headers["content-type"].startswith("text/html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert "3 requests" in page.text
    names = sorted(path.name for path in files(tmp_path))
    assert names == ["job.json", "lock", "page.html", "report.json"]
    assert not [path for path in files(tmp_path) if SECRET.encode() in path.read_bytes()]
    assert (tmp_path / "audits").stat().st_mode & 0o777 == 0o700
    (item,) = (await house.http.get(PATH, headers=ADMIN)).json()["items"]
    assert item == {name: found[name] for name in found if name != "report"}
    trail = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"]
    assert trail[0]["route"] == PATH
    gone = await house.http.delete(f"{PATH}/{job['id']}", headers=ADMIN)
    assert gone.json() == {"id": job["id"], "deleted": True, "was": "done"}
    assert (await house.http.get(f"{PATH}/{job['id']}", headers=ADMIN)).status_code == 404
    assert [path.name for path in files(tmp_path)] == ["lock"]


async def test_lines_that_cannot_be_read_are_shown_by_their_place(house: House) -> None:
    mixed = await taken(house, gzip.compress(TWICE + b"{broken\n"), name="mixed.jsonl.gz")
    nothing = await taken(house, b"no log at all\nnor this\n", name="notes.txt")
    found = await ended(house, mixed)
    assert (found["state"], found["summary"]["bad"]) == ("done", 1)
    (bad,) = found["summary"]["bad_shown"]
    assert bad.startswith("mixed.jsonl.gz:4")
    found = await ended(house, nothing)
    assert found["state"] == "failed"
    assert "nothing in it could be read" in found["error"]
    assert found["summary"]["bad_shown"][0].startswith("notes.txt:1")
    assert "no log at all" not in json.dumps(found)


async def test_one_runs_at_a_time_and_a_deleted_one_ends(house: House, tmp_path: Path) -> None:
    first, second, third = [await taken(house) for _ in range(3)]
    assert (await running(house, first))["state"] == "running"
    assert [(await shown(house, id))["state"] for id in (second, third)] == ["queued"] * 2
    for id, was in ((second, "queued"), (first, "running")):
        gone = await house.http.delete(f"{PATH}/{id}", headers=ADMIN)
        assert gone.json()["was"] == was
        assert not (tmp_path / "audits" / id).exists()
    assert (await ended(house, third))["state"] == "done"
    listed = (await house.http.get(PATH, headers=ADMIN)).json()["items"]
    assert [item["id"] for item in listed] == [third]


async def test_a_stopped_server_leaves_no_audit_that_seems_to_run(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        first, second = [await taken(house) for _ in range(2)]
        await running(house, first)
    async with House.open(tmp_path) as house:
        found = await shown(house, first)
        assert (found["state"], found["report"]) == ("failed", None)
        assert found["error"].startswith("interrupted")
        assert not (tmp_path / "audits" / first / "upload").exists()
        assert (await ended(house, second))["state"] == "done"


async def test_reports_are_deleted_after_their_days(tmp_path: Path) -> None:
    clock = Clock()
    async with House.open(tmp_path, clock=clock, audit_days=1) as house:
        id = await taken(house)
        await ended(house, id)
        clock.ahead_s = 86_000
        assert (await shown(house, id))["state"] == "done"
        clock.ahead_s = 86_600
        assert (await house.http.get(f"{PATH}/{id}", headers=ADMIN)).status_code == 404
        assert (await house.http.get(PATH, headers=ADMIN)).json()["items"] == []
        await house.parts.audit_jobs.sweep()
        assert [path.name for path in files(tmp_path)] == ["lock"]


async def test_a_list_of_audits_comes_by_page(house: House) -> None:
    made = [await taken(house) for _ in range(3)]
    first = (await house.http.get(PATH, headers=ADMIN, params={"limit": 2})).json()
    rest = await house.http.get(PATH, headers=ADMIN, params={"limit": 2, "cursor": first["next"]})
    assert [item["id"] for item in (*first["items"], *rest.json()["items"])] == made[::-1]
    assert rest.json()["next"] is None


async def test_wrong_uploads_are_refused_with_the_field_and_leave_nothing(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, max_audit_bytes=5_000) as house:
        for given, field in (
            ({"name": ""}, "name"), ({"name": "../job.json"}, "name"), ({"name": "-x"}, "name"),
            ({"target": "0"}, "target"), ({"target": "nan"}, "target"), ({"target": "1"}, "target"),
            ({"ttl_s": "1.5"}, "ttl_s"), ({"since": "soon"}, "since"), ({"until": "x"}, "until"),
            ({"since": "2026-11-02", "until": "2026-11-01"}, "since"),
            ({"one_tenant": "yes"}, "one_tenant"), ({"wrong_hit_usd": "-1"}, "wrong_hit_usd"),
            ({"verify_model": "unheard-of"}, "verify_model"), ({"tenant": "nobody"}, "tenant"),
            ({"colour": "red"}, "colour"),
        ):  # fmt: skip
            got = await upload(house, TWICE, **given)
            assert got.status_code == 400, given
            assert f"`{field}`" in got.json()["error"]["message"]
        for raw, status in ((b"", 400), (b"PK\x03\x04\x00\x00" * 9, 400), (TWICE * 20, 413)):
            got = await upload(house, raw)
            assert got.status_code == status, got.text

        async def pieces() -> AsyncIterator[bytes]:  # without a length, too
            for _ in range(20):
                yield TWICE

        got = await house.http.post(
            PATH, content=pieces(), params={"name": "x.jsonl"}, headers=ADMIN
        )
        assert got.status_code == 413
        got = await house.http.post(
            PATH,
            content=TWICE,
            params={"name": "x.jsonl"},
            headers={**ADMIN, "content-encoding": "br"},
        )
        assert got.status_code == 415
        assert {path.name for path in files(tmp_path)} <= {"lock"}
        assert (await house.http.get(PATH, headers=ADMIN)).json()["items"] == []


async def test_a_full_disk_refuses_an_upload_at_once(tmp_path: Path) -> None:
    folder = AuditFolder(tmp_path / "audits", spare=1 << 60)
    assert folder.hold()

    async def pieces() -> AsyncIterator[bytes]:
        yield TWICE

    with pytest.raises(DiskFull):
        await folder.receive("audit_x", "x.jsonl", pieces(), announced=0, most=10**9)
    assert [path.name for path in (tmp_path / "audits").iterdir()] == ["lock"]
    folder.close()


async def test_a_second_server_on_the_folder_says_who_runs_audits(tmp_path: Path) -> None:
    other = AuditFolder(tmp_path / "audits")
    assert other.hold()
    async with House.open(tmp_path) as house:
        for got in (await upload(house), await house.http.get(PATH, headers=ADMIN)):
            assert got.status_code == 409
            assert "another server" in got.text
        # It leaves an audit behind, written by a version with a field more.
        await other.receive("audit_x", "x.jsonl", _once(TWICE), announced=0, most=10**9)
        left = AuditJob("audit_" + "0" * 24, "x.jsonl", len(TWICE), AuditOptions(), house.clock())
        other.of("audit_x").rename(other.of(left.id))
        other.keep(left)
        path = other.of(left.id) / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
        other.close()
        assert (await ended(house, left.id))["state"] == "done"
        assert await taken(house)


async def _once(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


async def test_settings_of_a_tenant_are_taken_unless_it_keeps_no_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        await without_content(house, "quiet")
        await house.http.put(
            "/admin/v1/tenants/shop",
            headers=ADMIN,
            json={"default_ttl_s": 600, "bar": {"target": 0.05}},
        )
        refused = await upload(house, tenant="quiet")
        assert refused.status_code == 409
        got = await upload(house, tenant="shop")
        options = got.json()["options"]
        assert (options["target"], options["ttl_s"]) == (0.05, 600)
        assert (await ended(house, got.json()["id"]))["report"]["read"]["requests"] == 3
        # Encrypted where the store is; the page still opens.
        kept = [path for path in files(tmp_path / "data") if path.suffix in (".json", ".html")]
        assert sealed(kept) == ["page.html", "report.json"]
        page = await house.http.get(f"{PATH}/{got.json()['id']}/page", headers=ADMIN)
        assert "3 requests" in page.text


def sealed(paths: Sequence[Path]) -> list[str]:
    return sorted(path.name for path in paths if path.read_bytes().startswith(b"\xffcs"))


async def test_an_audit_gets_no_key_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    monkeypatch.setenv("CACHESERVER_ADMIN_KEY", "a-secret-of-the-servers")
    async with House.open(tmp_path) as house:
        id = await taken(house)
        await running(house, id)
        given = house.parts.audit_jobs._process._environment
        assert not [name for name, value in given.items() if "secret" in value or "sk-ant" in value]
        assert "CACHESERVER_MODEL_DIR" in given
        assert (await ended(house, id))["state"] == "done"
