"""Every verification is in the ledger as Claude charges it, whatever became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.hostile.raw import until
from tests.ledger.invoice import Both, agree
from tests.verification.house import ASKED, DEAR, Scene, verifying

REPLIES = (
    Directives(text="1"),
    Directives(text="NONE"),
    Directives(text="I think 1"),
    Directives(refusal="cyber"),
    Directives(text="1", fault=Fault("slow", delay_s=2.0)),
    Directives(fault=Fault("hang")),
    Directives(fault=Fault("cut")),
    Directives(fault=Fault("error", status=429, retry_after_s=1)),
    Directives(fault=Fault("error", status=529)),
)


async def test_the_ledger_and_the_invoice_agree_on_every_verification(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        left = iter(REPLIES)

        def reply(body: Mapping[str, Any]) -> Directives:
            return next(left)

        scene.reply = reply
        headers = Counter[str]()
        for number in range(len(REPLIES)):
            key = await scene.house.key(f"t{number}")
            await scene.store(key=key)
            answer = await scene.ask(ASKED, key=key)
            headers[answer.headers["x-cache-reason"]] += 1
        assert headers == {"verified": 1, "refuted": 3, "verify-slow": 2, "verify-failed": 3}

        await hang_up(scene)
        await scene.settled()
        rows, invoice = await scene.rows(), list(scene.house.upstream.invoice)
        agree(Both(rows, invoice, {}, 0))
        verify = [row for row in rows if row.reason == "verify"]
        assert len([row for row in verify if row.call is not None and row.unknown is None]) == 4
        assert len([row for row in verify if row.unknown is not None]) >= 3

        # Of the cap, what was paid is used up, and the most that a call without usage may cost.
        used = [await spent(scene, f"t{number}") for number in range(len(REPLIES))]
        paid = {row.tenant: sum(row.spent.values()) for row in verify if row.unknown is None}
        assert used[:4] == [paid[f"t{number}"] for number in range(4)]
        assert min(used[4:7]) > max(used[:4])
        assert used[7:] == [0, 0]


async def test_headers_and_rows_hold_the_same_money(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        scene.audit(always=False)
        answers = []
        for number, reply in enumerate(("1", "NONE", "I think 1", "1")):
            scene.reply = reply
            key = await scene.house.key(f"t{number}")
            answers.append(await scene.ask("How do I reset my password?", key=key, model=DEAR))
            answers.append(await scene.ask(ASKED, key=key))
        costs = sum(int(Decimal(one.headers["x-cost-usd"]) * 10**9) for one in answers)
        saved = sum(int(Decimal(one.headers["x-saved-usd"]) * 10**9) for one in answers)
        rows = await scene.rows()
        assert costs == sum((row.cost or 0) + sum(row.spent.values()) for row in rows)
        assert costs == sum(line.nanodollars for line in scene.house.upstream.invoice)
        assert saved == sum(row.net for row in rows)


async def hang_up(scene: Scene) -> None:
    """Ask, and leave while the model is asked."""
    key = await scene.house.key("gone")
    await scene.store(key=key)
    scene.reply = lambda body: Directives(fault=Fault("hang"))
    before = len(scene.calls)
    asking = asyncio.create_task(scene.ask(ASKED, key=key))
    await until(lambda: len(scene.calls) > before)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await scene.ended("gone", 499)


async def spent(scene: Scene, tenant: str) -> int:
    return int(Decimal((await scene.shown(tenant))["spent_usd"]) * 10**9)
