"""Factory of the replay engine that each process of an audit runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.seen import Reader
from cacheserver.analysis.replay.similar import Similar
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.workers import ManagedEngine
from cacheserver.core.types import Tenant
from cacheserver.english.language import english
from cacheserver.index.models import OnnxEmbedder
from cacheserver.pricing import price_file


@dataclass(frozen=True, slots=True)
class EngineFactory:
    """Settings of an engine, sent to each process; calling it makes the engine."""

    model_dir: Path
    tenant: Tenant
    prices: str | None
    entries: int
    texts: int
    prefixes: int

    def __call__(self) -> ManagedEngine:
        embedding = Embedding(OnnxEmbedder(self.model_dir))
        similar = Similar(embedding, english(), texts=self.texts)
        engine = Engine(
            reader=Reader(self.tenant, embedding.id, english()),
            pricer=price_file.build_pricer(self.prices),
            similar=similar,
            most=self.entries,
            prefixes=self.prefixes,
        )

        def close() -> None:
            similar.close()
            embedding.close()

        return ManagedEngine(engine, close)
