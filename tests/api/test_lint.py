"""`/v1/lint` and `cacheserver lint`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cacheserver.cli import main
from tests.house import MODEL, House

BODY = {
    "model": MODEL,
    "max_tokens": 10,
    "system": "Please note that we sell bicycles and nothing else.",
    "messages": [{"role": "user", "content": "Hi"}],
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house


async def test_findings_come_with_money_at_the_volume_asked(house: House) -> None:
    few = (await house.http.post("/v1/lint?requests_a_day=10", json=BODY)).json()
    many = (await house.http.post("/v1/lint?requests_a_day=1000", json=BODY)).json()
    [one], [other] = few["findings"], many["findings"]
    assert (one["code"], one["proposed"]) == ("filler", "We sell bicycles and nothing else.")
    assert float(other["saves_usd_a_day"]) == pytest.approx(100 * float(one["saves_usd_a_day"]))
    assert float(one["saves_usd_a_day"]) > 0
    assert house.asked == []


async def test_the_volume_is_what_the_tenant_asked_where_nobody_says(house: House) -> None:
    new = (await house.http.post("/v1/lint", json=BODY)).json()
    assert new["requests_a_day"] == 1_000
    for number in range(3):
        await house.ask(f"Question {number}?")
    assert (await house.http.post("/v1/lint", json=BODY)).json()["requests_a_day"] == 3


async def test_auto_is_the_default_model(house: House) -> None:
    found = await house.http.post("/v1/lint", json={**BODY, "model": "auto"})
    assert found.json()["model"] == "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/lint?requests_a_day=0", BODY, "requests_a_day"),
        ("/v1/lint?requests_a_day=many", BODY, "requests_a_day"),
        ("/v1/lint", {**BODY, "messages": []}, "messages"),
        ("/v1/lint", {"messages": [{"role": "user", "content": "Hi"}]}, "model"),
    ],
)
async def test_bad_input_is_named(house: House, path: str, body: object, field: str) -> None:
    refused = await house.http.post(path, json=body)
    assert refused.status_code == 400
    assert f"`{field}`" in refused.json()["error"]["message"]


def test_files_are_linted_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, text, fine = tmp_path / "body.json", tmp_path / "prompt.txt", tmp_path / "fine.txt"
    body.write_text(json.dumps(BODY))
    text.write_text("Please note that we sell bicycles and nothing else.")
    fine.write_text("We sell bicycles.")
    assert main(["lint", str(body), str(text)]) == 1
    assert capsys.readouterr().out.count("filler") == 2
    assert main(["lint", str(fine)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["lint", str(fine), str(tmp_path / "gone.txt")]) == 2
    assert "gone.txt" in capsys.readouterr().err
    assert main(["lint", "--json", str(body)]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "filler"
