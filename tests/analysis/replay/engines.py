"""Engines with the real model, made in whatever process asks; light to import."""

from __future__ import annotations

from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.seen import Reader
from cacheserver.analysis.replay.similar import Similar
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.verification import Verification
from cacheserver.analysis.replay.workers import ManagedEngine
from cacheserver.core.types import Bar, Tenant
from cacheserver.english.language import english
from cacheserver.index.errors import EmbedderFailed
from cacheserver.index.models import OnnxEmbedder
from tests.analysis.replay.calls import PRICER
from tests.models import model_dir

TENANT = Tenant("default", bar=Bar(target=0.01))


def make(
    texts: int | None, tenant: Tenant = TENANT, verification: Verification | None = None
) -> ManagedEngine:
    embedding = Embedding(OnnxEmbedder(model_dir()))
    rates = None if verification is None else verification.rates
    similar = Similar(embedding, english(), texts=texts, rates=rates)
    similar.__enter__()
    engine = Engine(
        reader=Reader(tenant, english()),
        pricer=PRICER,
        similar=similar,
        most=1_000,
        verification=verification,
    )

    def close() -> None:
        similar.__exit__(None, None, None)
        embedding.close()

    return ManagedEngine(engine, close)


def away() -> ManagedEngine:
    raise EmbedderFailed("the endpoint is away")


def broken() -> ManagedEngine:
    raise ValueError("no model")
