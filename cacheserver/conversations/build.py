"""Builds conversations: the store of turns, and the trimming of long histories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cacheserver.conversations.conversation_list import ConversationList
from cacheserver.conversations.history import HistoryTrimmer
from cacheserver.conversations.turns import Turns
from cacheserver.host import Host


@dataclass(frozen=True, slots=True)
class Conversations:
    turns: Turns
    history: HistoryTrimmer
    listed: ConversationList


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[Conversations]:
    """Yield conversations; pending records are written at the end."""
    store = host.store
    turns = Turns(store.redis, prefix=store.prefix, sealer=store.sealer)
    history = HistoryTrimmer(
        turns,
        claude=host.recorded("summary"),
        pricer=host.pricer,
        metrics=host.metrics,
        model=host.settings.default_model,
    )
    host.plugins.history = history
    try:
        yield Conversations(turns, history, ConversationList(store.redis, prefix=store.prefix))
    finally:
        await history.close()
