"""Factory of the replay engine that each process of an audit runs."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.seen import Reader
from cacheserver.analysis.replay.similar import Similar
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.verification import Verification
from cacheserver.analysis.replay.workers import ManagedEngine
from cacheserver.config.settings import Settings, is_url
from cacheserver.core.types import Tenant
from cacheserver.embedding import build
from cacheserver.languages.rules import languages
from cacheserver.pricing import price_file

_PATIENCE_S = 10.0  # for an endpoint; nobody waits for a single question of an audit


def patient(settings: Settings) -> Settings:
    """Return the settings with an audit's patience for an embeddings endpoint."""
    if not is_url(settings.embedder):
        return settings
    limit_s = max(_PATIENCE_S, settings.embedder_timeout_s)
    return settings.model_copy(update={"embedder_timeout_s": limit_s})


@dataclass(frozen=True, slots=True)
class EngineFactory:
    """Settings of an engine, sent to each process; calling it makes the engine."""

    settings: Settings
    tenant: Tenant
    prices: str | None
    entries: int
    texts: int
    prefixes: int
    verification: Verification | None = None

    def __call__(self) -> ManagedEngine:
        loaded = build.load(self.settings)
        embedding = Embedding(loaded.embedder)
        rates = None if self.verification is None else self.verification.rates
        similar = Similar(embedding, languages(), texts=self.texts, prior=loaded.prior, rates=rates)
        engine = Engine(
            reader=Reader(self.tenant, languages()),
            pricer=price_file.build_pricer(self.prices),
            similar=similar,
            most=self.entries,
            prefixes=self.prefixes,
            verification=self.verification,
        )

        def close() -> None:
            similar.close()
            embedding.close()
            build.close(loaded)

        return ManagedEngine(engine, close)
