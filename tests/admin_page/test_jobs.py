"""Jobs on the admin page: an audit from the upload to its report, jobs, conversations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.admin_page.pages import AdminPage, Visit, browser_tests
from tests.analysis.audit.records import pair
from tests.api.admin import ADMIN
from tests.house import MODEL, House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

# A purpose from a log is somebody's text.
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def log(path: Path) -> Path:
    lines = [
        pair(
            "What is the capital of France?",
            at=f"2026-11-{day:02}T10:{minute:02}:00Z",
            purpose=EVIL,
        )
        for day in range(1, 21)
        for minute in range(0, 60, 4)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n{broken\n")
    return path


async def test_a_log_is_uploaded_followed_and_its_report_read(
    admin: AdminPage, tmp_path: Path
) -> None:
    await admin.open("jobs", tab="audits")
    main = admin.main
    await expect(main.get_by_text("No log was audited yet")).to_be_visible()
    await main.get_by_role("button", name="Upload and audit").click()
    await expect(main.get_by_label("Log", exact=True)).to_be_focused()
    await expect(main.get_by_text("choose a log first")).to_be_visible()
    await main.get_by_label("Log", exact=True).set_input_files(log(tmp_path / "my log (1).jsonl"))
    await main.get_by_text("More options").click()
    await main.get_by_label("Error target").fill("5")
    admin.expect("400")
    await main.get_by_role("button", name="Upload and audit").click()
    await expect(main.get_by_text("must be a number, 0 to 0.5")).to_be_visible()
    await main.get_by_label("Error target").fill("0.02")
    await main.get_by_role("button", name="Upload and audit").click()
    await expect(main.get_by_role("heading", name="my-log-1-.jsonl")).to_be_visible()
    await expect(main.get_by_text("Would have been saved")).to_be_visible(timeout=90_000)
    await expect(main.get_by_text("Error target 2.0%")).to_be_visible()
    await expect(main.get_by_role("heading", name="1 line could not be read")).to_be_visible()
    await expect(main.get_by_text("my-log-1-.jsonl:301")).to_be_visible()
    await expect(main.get_by_text(EVIL).first).to_be_visible()  # as text
    assert await admin.accessibility() == []
    async with admin.page.context.expect_page() as opened:
        await main.get_by_role("link", name="Whole report").click()
    report = await opened.value
    await expect(report.get_by_role("heading", level=1)).to_have_text(
        "What your logs would have saved"
    )
    await report.close()
    await main.get_by_role("button", name="Delete").click()
    await admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(main.get_by_text("No log was audited yet")).to_be_visible()


async def test_a_key_that_only_reads_has_no_upload(visit: Visit, house: House) -> None:
    made = await house.http.post(
        "/admin/v1/admin-keys", headers=ADMIN, json={"name": "reader", "role": "read"}
    )
    async with visit(key=made.json()["key"]) as page:
        await page.open("jobs", tab="audits")
        await expect(page.main.get_by_text("uploads logs")).to_be_visible()
        await expect(page.main.get_by_role("button", name="Upload and audit")).to_have_count(0)


async def test_a_job_is_opened_by_keyboard_and_cancelled(admin: AdminPage, house: House) -> None:
    key = {"x-api-key": await house.key("shop")}
    body = {"prompt": "What is in the vault?", "model": MODEL, "deadline": 86_400 * 4}
    made = await house.http.post("/v1/jobs", json=body, headers=key)
    assert made.status_code == 202, made.text
    await admin.open("jobs")
    row = admin.main.get_by_role("row").filter(has_text="shop")
    await row.focus()
    await admin.page.keyboard.press("Enter")
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog.get_by_text(made.json()["id"])).to_be_visible()
    await dialog.get_by_role("button", name="Cancel the job").click()
    await admin.page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    await expect(admin.page.get_by_text("The job is being cancelled.")).to_be_visible()
    found = await house.http.get(f"/admin/v1/jobs/shop/{made.json()['id']}", headers=ADMIN)
    assert found.json()["status"] in ("canceling", "ended")
    assert "vault" not in await admin.main.inner_text()


async def test_conversations_are_listed_without_their_turns(admin: AdminPage, house: House) -> None:
    body = {"prompt": "What is in the vault?", "model": MODEL, "conversation": "my-talk"}
    await house.http.post("/v1/query", json=body)
    await admin.open("jobs")
    await admin.main.get_by_role("tab", name="Conversations").click()
    await expect(admin.main.get_by_text("my-talk")).to_be_visible()
    assert "vault" not in await admin.main.inner_text()
    assert await admin.accessibility() == []
