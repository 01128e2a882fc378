"""Engines with the real model, made in whatever process asks; light to import."""

from __future__ import annotations

from cacheserver.policy import lexicon
from cacheserver.replay.engine import Engine
from cacheserver.replay.seen import Reader
from cacheserver.replay.similar import Similar
from cacheserver.replay.vectors import Embedding
from cacheserver.replay.workers import Made
from cacheserver.types import Bar, Tenant
from index.models import OnnxEmbedder
from tests.models import model_dir
from tests.replay.making import PRICER

TENANT = Tenant("default", bar=Bar(target=0.01))


def make(texts: int | None, tenant: Tenant = TENANT) -> Made:
    embedding = Embedding(OnnxEmbedder(model_dir()))
    similar = Similar(embedding, lexicon.standard(), texts=texts)
    similar.__enter__()
    engine = Engine(reader=Reader(tenant, embedding.id), pricer=PRICER, similar=similar, most=1_000)

    def close() -> None:
        similar.__exit__(None, None, None)
        embedding.close()

    return Made(engine, close)


def broken() -> Made:
    raise ValueError("no model")
