"""Builds the eraser, which finishes what a server before it left undone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cacheserver.erasure.erasure import Eraser
from cacheserver.host import Host


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[Eraser]:
    """Yield the eraser, at work until the block ends."""
    store, settings, answers = host.store, host.settings, host.answers
    eraser = Eraser(
        store.redis,
        prefix=store.prefix,
        sealer=store.sealer,
        semantic=answers.entries,
        decision_log=answers.decision_log,
        ledger=host.ledger.writer,
        tenants=host.tenants,
        data_dir=settings.data_dir,
        ours=store.server.sync is not None,
        longest_s=settings.timeout_s,
        metrics=host.metrics,
        clock=host.clock,
        forget=answers.forget_texts,
        told=host.peers.everywhere,
        others=lambda: host.peers.many and store.server.sync is None,  # an embedded store is shared
    )

    async def forget(_: Sequence[str] = ()) -> None:
        answers.forget_texts()

    host.peers.listen("erased", forget, anew=forget)
    eraser.start()
    try:
        yield eraser
    finally:
        await eraser.close()
