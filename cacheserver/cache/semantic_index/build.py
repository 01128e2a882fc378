"""Makes the index that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.port import IndexKind, SemanticIndex
from cacheserver.cache.semantic_index.scope_limit import Loading
from cacheserver.cache.semantic_index.server import open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage.build import Store
from cacheserver.storage.connection import command
from cacheserver.storage.primary_views import untagged


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """`url`: of the server with the vector sets; None: the store itself."""

    kind: IndexKind = "faiss"
    url: str | None = field(default=None, repr=False)  # may contain a password
    most: int = 150_000  # vectors in one set
    wait_s: float = 0.25  # how long a search may take


class IndexFactory:
    """Makes indexes over the questions of one store, for one embedder."""

    def __init__(
        self,
        store: Store,
        options: IndexOptions,
        *,
        snapshot: Path,
        dim: int,
        embedder_id: str,
        clock: Callable[[], float],
        loading: Loading,
    ) -> None:
        self._store = store
        self._options = options
        self._snapshot = snapshot
        self._dim = dim
        self._embedder_id = embedder_id
        self._clock = clock
        self._loading = loading

    def make(self, kind: IndexKind) -> SemanticIndex:
        """Return an index, not opened yet. Raises `SettingsError` if it cannot be used."""
        if kind == "faiss":
            return FaissIndex(
                self._dim,
                embedder_id=self._embedder_id,
                path=self._snapshot,
                clock=self._clock,
                coat=self._store.sealer.files,
                loading=self._loading,
            )
        if self._store.sealer.on:
            raise SettingsError(
                "`CACHESERVER_INDEX`: with encryption on, vectors would lie in vector sets as they "
                "are, for Redis computes with them; keep `faiss`, whose snapshot is encrypted"
            )
        url = self._options.url
        server = (
            open_server(self._store.server.url, tls=self._store.server.tls)
            if url is None
            else open_server(url, tls=self._store.server.tls)
        )
        return VectorSets(
            server,
            prefix=self._store.prefix,
            dim=self._dim,
            embedder_id=self._embedder_id,
            clock=self._clock,
            most=self._options.most,
            wait_s=self._options.wait_s,
        )

    async def first(self) -> SemanticIndex:
        """Return the index to start with: the one that is wanted, once it has all questions.

        Until then it is FAISS, from which a move begins. Raises `SettingsError` if the wanted one
        cannot be used, and `StoreError` if its server is away.
        """
        if self._options.kind == "faiss":
            return self.make("faiss")
        sets = self.make("vector-sets")
        try:
            await sets.open()
            version = await sets.version()
            if not await command(self._store.redis, "HLEN", f"{self._store.prefix}ids"):
                await sets.set_full(version)  # nothing is stored
            if await sets.is_full():
                return sets
        except StoreError as error:
            await sets.close()
            raise StoreError(f"`CACHESERVER_INDEX`: {error}") from None
        except BaseException:
            await sets.close()
            raise
        await sets.close()
        return self.make("faiss")

    async def has_leftovers(self, kind: IndexKind) -> bool:
        """Return whether an index that is not in use may have vectors. Raises `StoreError`."""
        if kind == "faiss":
            return self._snapshot.exists()
        if self._options.url is not None:
            return True
        marks = f"{untagged(self._store.prefix)}vk"
        server = open_server(self._store.server.url, tls=self._store.server.tls)
        try:  # not the store's connection: on a cluster it may be another node's key
            return bool(await server.run(marks, "EXISTS", marks))
        finally:
            await server.close()
