"""A house whose simulated Claude verifies as a test says, and the pair that it is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
import orjson

from cacheserver.core.ledger_row import Row
from cacheserver.ledger.export import LedgerExport
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import question
from cacheserver.storage.connection import command
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"x-api-key": ADMIN_KEY}
STORED = "How do I reset my password?"
ASKED = "how to reset a password"
DEAR = "claude-sonnet-5-5"  # its answers are worth a call
VERIFIER = "claude-haiku-5-5"
PROMPT = "You decide for a cache"  # how the system prompt of a verification begins

Replying: TypeAlias = Callable[[Mapping[str, Any]], Directives | str | None]


def verifies(body: Mapping[str, Any]) -> bool:
    return str(body.get("system", "")).startswith(PROMPT)


def long(text: str) -> str:
    """An answer that is dear enough to be worth a verification, unless it is to be short."""
    if text.startswith("[[short]]"):
        return text
    return f"{text} " * 40


@dataclass
class Scene:
    """The house, and what the verifying model replies: a text, a rule, or None for its own rule."""

    house: House
    reply: Replying | str | None = "1"
    answers: Callable[[str], str] = lambda asked: "Open the settings and choose a new password."

    def direct(self, body: Mapping[str, Any]) -> Directives | None:
        if not verifies(body):
            return Directives(text=long(self.answers(question(body))))
        made = self.reply(body) if callable(self.reply) else self.reply
        return Directives(text=made) if isinstance(made, str) else made

    @property
    def calls(self) -> list[Any]:
        """The verifications that reached Claude."""
        return [one for one in self.house.asked if verifies(one.body)]

    @property
    def data(self) -> list[Any]:
        """Data that each of them showed to the model."""
        return [orjson.loads(one.body["messages"][0]["content"]) for one in self.calls]

    async def ask(self, text: str, **given: Any) -> httpx2.Response:
        return await self.house.ask(text, **{"model": DEAR, "max_tokens": 1_000, **given})

    def audit(self, *, always: bool) -> None:
        """Audit every hit that may be audited, or none."""
        self.house.parts.service._stored._chance = lambda: 0.0 if always else 1.0

    async def store(self, *texts: str, **given: Any) -> None:
        for text in texts or (STORED,):
            assert came_from(await self.ask(text, **given))[0] == "miss"

    async def put(self, tenant: str, **fields: Any) -> None:
        path = f"/admin/v1/tenants/{tenant}"
        answer = await self.house.http.put(path, json=fields, headers=ADMIN)
        assert answer.status_code == 200, answer.text

    async def verified(self, response: httpx2.Response, key: str = "any") -> dict[str, Any]:
        """Record in the decision of the verification."""
        path = f"/v1/decisions/{response.headers['x-cache-decision']}"
        record = (await self.house.http.get(path, headers={"x-api-key": key})).json()
        found: dict[str, Any] = record["verified"]
        return found

    async def shown(self, tenant: str = "default", method: str = "GET") -> dict[str, Any]:
        path = f"/admin/v1/verification/{tenant}"
        answer = await self.house.http.request(method, path, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def settled(self) -> None:
        """Wait for the verifications and the learning that nobody waits for."""
        await self.house.parts.verification.background.drain()
        await self.house.parts.calibration.learner.idle()

    async def keys(self, pattern: str) -> int:
        found = await command(self.house.parts.host.store.redis, "KEYS", f"cs1:{pattern}")
        return len(found)

    async def ended(self, tenant: str, status: int) -> None:
        """Wait until a request of a tenant has ended with a status."""
        for _ in range(1_000):
            if (tenant, status) in {(row.tenant, row.status) for row in await self.rows()}:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"no request of {tenant} has ended with {status}")

    async def rows(self) -> list[Row]:
        ledger = self.house.parts.ledger
        await ledger.flush()
        export, now = LedgerExport(ledger.redis, prefix=ledger.prefix), self.house.clock()
        return [row async for _, rows in export.minutes(now - 3_600, now + 60) for row in rows]


@asynccontextmanager
async def verifying(
    folder: Path, reply: Replying | str | None = "1", **settings: Any
) -> AsyncIterator[Scene]:
    """A house whose rates are stated as 90% and 2%, so that a yes serves `ASKED`."""
    scene: list[Scene] = []

    def direct(body: Mapping[str, Any]) -> Directives | None:
        return scene[0].direct(body)

    chosen = {"similarity": None, "target": 0.01, "verify_false_yes": 0.02, **settings}
    async with House.open(folder, claude=direct, **chosen) as house:
        scene.append(Scene(house, reply))
        yield scene[0]
