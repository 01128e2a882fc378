"""The share of wrong hits, from the labels that are stored."""

from __future__ import annotations

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.calibration.states import encode
from cacheserver.calibration.wrong_hits import WrongHitShares
from cacheserver.core.evidence import Evidence
from cacheserver.matching.calibration import Label
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection

SCOPES = ("a" * 64, "b" * 64)


def label(right: bool, *, served: bool = True, weight: float = 1.0) -> Label:
    evidence = Evidence(0.9, 0.1, 0.4, 0.4, 0.8, 0.0)
    return Label(evidence, right, weight, "audit", served=served, embedder="e")


async def test_hits_count_by_their_weight_and_misses_do_not(redis: Connection, prefix: str) -> None:
    labels = Labels(redis, prefix=prefix)
    for scope in SCOPES:
        for one in (label(True, weight=3.0), label(False), label(False, served=False)):
            await labels.add("acme", scope, encode(one))
    for damaged in ({"retracts": "1-0"}, {"served": True, "right": "yes", "weight": 1}):
        await labels.add("acme", SCOPES[0], damaged)
    await labels.add("beta", SCOPES[0], encode(label(False)))
    shares = WrongHitShares(labels, Metrics(), lambda: 0.0)
    found = await shares.share(["acme"])
    assert found is not None
    assert found.share == pytest.approx(2 / 8)
    assert found.labels == 4
    both = await shares.share(["acme", "beta"])
    assert both is not None
    assert both.share == pytest.approx(3 / 9)
    assert await shares.share(["nobody"]) is None
