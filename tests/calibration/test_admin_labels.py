"""Remains of a label that was begun and never completed."""

from __future__ import annotations

from cacheserver.calibration.review.admin_labels import LIFE_S, AdminLabel, AdminLabels
from cacheserver.storage.connection import Connection, command


async def test_a_label_that_was_only_begun_does_not_stay_for_ever(
    redis: Connection, prefix: str
) -> None:
    labels = AdminLabels(redis, prefix=prefix)
    label = AdminLabel(
        nonce="n", pair="p", verdict="yes", at=0.0, who="ann", scope="s", fingerprint="f", entry="e"
    )
    assert await labels.begin("shop", label) == label
    (key,) = await command(redis, "KEYS", f"{prefix}adminlabels:*")
    assert 0 < await command(redis, "TTL", key) <= LIFE_S
    other = AdminLabel(
        nonce="m", pair="p", verdict="no", at=0.0, who="bob", scope="s", fingerprint="f", entry="e"
    )
    assert await labels.begin("shop", other) == label  # the first one holds
