"""Conversations on `/v1/query`: earlier turns come before the question, the answer after.

Where the turns cannot be read nobody is answered: without them the answer would be a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.components import Components
from cacheserver.api.state import state_of
from cacheserver.cache import controls
from cacheserver.cache.answer import Answer
from cacheserver.claude import sse
from cacheserver.conversations import history
from cacheserver.core import json_text
from cacheserver.core.errors import NotFound, StoreError, Unavailable
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.types import Query, Tenant

router = APIRouter(tags=["query"])

LOST = "x-cache-conversation"  # `lost`: the answer could not be kept for the next question


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """One question within a conversation."""

    parts: Components
    earlier: list[dict[str, Any]]
    asked: list[dict[str, Any]]  # the turns of this question
    asked_at: float

    @classmethod
    async def of(
        cls, asked: Mapping[str, Any], headers: Mapping[str, str], tenant: Tenant, parts: Components
    ) -> ConversationTurn | None:
        """Return the conversation that a question names; None if it names none.

        Raises `BadRequest` for a name that is none and `Unavailable` where Redis is away.
        """
        if asked.get("conversation") is None:
            return None
        name = controls.name("conversation", asked["conversation"])
        space = controls.query_controls(asked, headers).namespace
        asked_at = parts.clock()
        try:
            earlier = await parts.conversations.turns.load(tenant.name, space, name)
        except StoreError as error:
            raise Unavailable("the conversation cannot be read now; try again shortly") from error
        own = asked.get("messages") or [{"role": "user", "content": asked["prompt"]}]
        return cls(parts, earlier, own, asked_at)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All turns, as sent to Claude."""
        return [*self.earlier, *self.asked]

    async def remembered(self, query: Query, answer: Answer) -> Answer:
        """Store the answer for the next question before its last byte leaves."""
        if answer.events is None:
            saved = await self._keep(query, json_text.loads(answer.body))
            return answer if saved else replace(answer, headers={**answer.headers, LOST: "lost"})
        fold = sse.Fold()

        async def watch(raw: bytes) -> None:
            if (event := sse.decode(raw)) is not None:
                fold.feed(event)
            if fold.complete:
                await self._keep(query, fold.message)

        return replace(answer, events=answer.events.watched(watch))

    async def _keep(self, query: Query, message: Mapping[str, Any]) -> bool:
        try:
            # Of the query: marks of a declared question are gone there.
            asked = query.body["messages"][len(self.earlier) :]
            await history.remember(
                self.parts.conversations.turns, query, asked, message, asked_at=self.asked_at
            )
        except StoreError:
            self.parts.metrics.swallowed("conversation")
            return False
        return True


@router.get("/v1/conversations/{name}", summary="The turns of a conversation")
async def show(request: Request, name: str, namespace: str = "default") -> dict[str, Any]:
    """Show the stored turns of one of your conversations, oldest first.

    For a tenant without stored content, only the number of turns is shown.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    turns = await state.parts.conversations.turns.load(
        caller.tenant.name,
        controls.name("namespace", namespace),
        controls.name("conversation", name),
    )
    if not turns:
        raise NotFound("there is no such conversation, or it is forgotten")
    shown = {"conversation": name, "namespace": namespace}
    if caller.tenant.no_content:
        return {**shown, "turns": len(turns), "messages": None, "withheld": NO_CONTENT}
    return {**shown, "messages": turns}


@router.delete("/v1/conversations/{name}", summary="Forget a conversation")
async def forget(request: Request, name: str, namespace: str = "default") -> dict[str, Any]:
    """Delete one of your conversations. Answers stored for its questions stay in the cache."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    gone = await state.parts.conversations.turns.forget(
        caller.tenant.name,
        controls.name("namespace", namespace),
        controls.name("conversation", name),
    )
    if not gone:
        raise NotFound("there is no such conversation, or it is forgotten")
    await state.parts.host.peers.confirm()
    return {"conversation": name, "forgotten": True}
