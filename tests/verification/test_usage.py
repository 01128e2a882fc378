"""Verification in `/v1/usage` and its exports: one cause, negative where the model said no."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.verification.house import ASKED, VERIFIER, Scene, verifying


async def usage(scene: Scene, **asked: str) -> dict[str, Any]:
    await scene.settled()
    await scene.house.parts.ledger.flush()
    answer = await scene.house.http.get("/v1/usage", params=asked, headers={"x-api-key": "any"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(("reply", "negative"), [("1", False), ("NONE", True)])
async def test_it_is_one_cause_with_its_net(tmp_path: Path, reply: str, negative: bool) -> None:
    async with verifying(tmp_path, reply) as scene:
        await scene.store()
        await scene.ask(ASKED)
        (group,) = (await usage(scene, group_by="cause", cause="verify"))["groups"]
        charged = next(
            line.nanodollars for line in scene.house.upstream.invoice if line.model == VERIFIER
        )
        assert Decimal(group["spent_usd"]) * 10**9 == charged
        assert ("saved_usd" in group) is not negative
        net = Decimal(group.get("saved_usd", "0")) - Decimal(group["spent_usd"])
        assert Decimal(group["net_usd"]) == net
        assert (net < 0) is negative

        totals = (await usage(scene))["totals"]
        assert totals["spent_by_cause_usd"]["verify"] == group["spent_usd"]
        assert Decimal(totals["saved_by_cause_usd"]["verify"]) == net + Decimal(group["spent_usd"])


async def test_an_export_has_its_columns(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        await scene.store()
        await scene.ask(ASKED)
        await usage(scene)
        answer = await scene.house.http.get(
            "/v1/usage/export", params={"format": "csv"}, headers={"x-api-key": "any"}
        )
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        (hit,) = [row for row in rows if row["reason"] == "verified"]
        (call,) = [row for row in rows if row["reason"] == "verify"]
        assert int(hit["saved_verify"]) > 0 == int(hit["spent_verify"])
        assert int(call["spent_verify"]) > 0 == int(call["saved_verify"])
