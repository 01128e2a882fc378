"""What each process of an audit's replay makes its engine of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cacheserver import pricefile
from cacheserver.policy import lexicon
from cacheserver.replay.engine import Engine
from cacheserver.replay.seen import Reader
from cacheserver.replay.similar import Similar
from cacheserver.replay.vectors import Embedding
from cacheserver.replay.workers import Made
from cacheserver.types import Tenant
from index.models import OnnxEmbedder


@dataclass(frozen=True, slots=True)
class Making:
    """Settings, and the engine made of them; they go to each process."""

    model_dir: Path
    tenant: Tenant
    prices: str | None
    entries: int
    texts: int
    prefixes: int

    def __call__(self) -> Made:
        embedding = Embedding(OnnxEmbedder(self.model_dir))
        similar = Similar(embedding, lexicon.standard(), texts=self.texts)
        engine = Engine(
            reader=Reader(self.tenant, embedding.id),
            pricer=pricefile.pricer(self.prices),
            similar=similar,
            most=self.entries,
            prefixes=self.prefixes,
        )

        def close() -> None:
            similar.close()
            embedding.close()

        return Made(engine, close)
