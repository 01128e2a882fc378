"""Factory of the replay engine that each process of an audit runs."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.seen import Reader
from cacheserver.analysis.replay.similar import Similar
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.verification import Verification
from cacheserver.analysis.replay.workers import ManagedEngine
from cacheserver.config.settings import Settings
from cacheserver.core.types import Tenant
from cacheserver.embedding.build import load
from cacheserver.languages.rules import languages
from cacheserver.pricing import price_file


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
        loaded = load(self.settings)
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

        return ManagedEngine(engine, close)
