"""Index of vectors by scope, with nearest neighbours within one scope.

Exact search in half precision; inverted lists for a scope that outgrew it, once `maintain` has
trained them. Thread-safe: one lock is held around single short calls, never while training or
writing. At 100k vectors in a scope the longest are an untrained search (3 ms) and, once in 25k
removals, dropping the removed rows (10 ms). `maintain` and `blocks` exclude each other only.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cacheserver.index.errors import BadVector
from cacheserver.index.lists import Stopped, TrainingStopped, train
from cacheserver.index.memory import give_back
from cacheserver.index.models import Vectors
from cacheserver.index.names import Name, packed, unpacked
from cacheserver.index.partition import Block, Match, Partition, number_of

__all__ = ["IVF_FROM", "Block", "Match", "VectorIndex"]

# Right after an embedding, which leaves nothing of them in the processor's caches, exact search of
# 10,000 takes 0.42 ms and 24 of 200 lists 0.17 ms.
IVF_FROM = 8_000
_UNIT = 1e-3  # how far a length may be from 1; half precision moves it by about 1e-5
# What a row takes beside its vector (id, key, deadline), and a scope beside its rows.
# `scripts/bench index` prints what was measured: 1.2 kB a row with 40 in a scope.
_ROW_BYTES = 500
_SCOPE_BYTES = 4_000
_FORGET = 4_096  # ids forgotten under one lock: 1 ms


class VectorIndex:
    def __init__(self, dim: int, *, ivf_from: int = IVF_FROM) -> None:
        """`ivf_from`: how many vectors of one scope make it worth training inverted lists."""
        self.dim = dim
        self._ivf_from = ivf_from
        self._lock = threading.Lock()
        self._long_job = threading.Lock()  # taken before `_lock`
        self._scopes: OrderedDict[str, Partition] = OrderedDict()  # the last one asked is last
        self._numbered: dict[int, Partition] = {}  # detached ones too, until they are forgotten
        self._key_of: dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self._key_of)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and packed(id) in self._key_of

    def names(self) -> list[Name]:
        """Return the packed ids that are in, expired ones that were not swept included."""
        with self._lock:
            return list(self._key_of)

    @property
    def bytes(self) -> int:
        """Return about how much memory the vectors take."""
        return len(self) * (2 * self.dim + _ROW_BYTES) + len(self._scopes) * _SCOPE_BYTES

    @property
    def scope_count(self) -> int:
        return len(self._scopes)

    def coldest(self) -> str | None:
        """Return the scope that was searched the longest ago; new ones were never."""
        with self._lock:
            return next(iter(self._scopes), None)

    def ids_of(self, scope: str) -> list[str]:
        """Return the ids of a scope in the order in which they were added."""
        with self._lock:
            partition = self._scopes.get(scope)
            names = [] if partition is None else partition.names()
        return [unpacked(name) for name in names]

    def adopt(self, other: VectorIndex) -> None:
        """Take the scopes of another index, which this one must lack. `other` is not used again."""
        with self._lock:
            self._scopes.update(other._scopes)
            self._numbered.update(other._numbered)
            self._key_of.update(other._key_of)

    def detach(self, scope: str) -> Partition | None:
        """Take a scope out; `forget` must be called with the result. Takes some microseconds."""
        with self._lock:
            return self._scopes.pop(scope, None)

    def forget(self, partition: Partition) -> None:
        """Forget the ids of a detached scope, some at a time."""
        with self._lock:
            names = partition.names()
        for start in range(0, len(names), _FORGET):
            with self._lock:
                for name in names[start : start + _FORGET]:
                    self._forget(name, partition)
        with self._lock:
            self._numbered.pop(partition.number, None)

    def scopes(self) -> Mapping[str, int]:
        """Return how many vectors each scope has."""
        with self._lock:
            return {scope: len(partition) for scope, partition in self._scopes.items()}

    def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        """Add a unit vector, in the place of any with the same id. Raises `BadVector`."""
        self.extend(scope, [id], np.asarray(vector)[None], [expires_at])

    def extend(
        self,
        scope: str,
        ids: Sequence[str],
        vectors: npt.NDArray[np.floating],
        expires_at: Sequence[float] | npt.NDArray[np.float64],
    ) -> None:
        """Add many at once; `ids` must differ from each other. Raises `BadVector`, adding none.

        Vectors in half precision are added as they are: they come from `blocks`.
        """
        self._extend(Block(scope, list(ids), np.asarray(expires_at, np.float64), vectors))

    def _extend(self, block: Block) -> None:
        scope, ids, vectors, deadlines = block.scope, block.ids, block.vectors, block.expires_at
        kept = vectors.dtype == np.float16
        rows = np.ascontiguousarray(vectors, None if kept else np.float32)
        if rows.shape != (len(ids), self.dim) or deadlines.shape != (len(ids),):
            raise BadVector(f"{len(ids)} ids, vectors {rows.shape}, dimension {self.dim}")
        # Written so that NaN fails: it compares false.
        if not kept and not bool(np.all(np.abs(np.linalg.norm(rows, axis=1) - 1.0) <= _UNIT)):
            raise BadVector("a vector is not of length 1")
        if len(set(ids)) != len(ids) or not bool(np.all(deadlines > -math.inf)):
            raise ValueError("an id is given twice, or a deadline is not a time")
        if not ids:
            return
        names = [packed(id) for id in ids]
        with self._lock:
            if not self._key_of.keys().isdisjoint(names):
                for name in names:
                    self._remove(name)
            partition = self._scopes.get(scope)
            if partition is None:
                partition = self._scopes[scope] = Partition(scope, self.dim, block.lists)
                self._scopes.move_to_end(scope, last=False)
                self._numbered[partition.number] = partition
            number = block.number if block.lists is not None and partition.trained_at else None
            keys = partition.add(names, rows, deadlines, number=number)
            self._key_of.update(zip(names, keys, strict=True))

    def remove(self, id: str) -> bool:
        """Remove a vector; return whether it was in."""
        with self._lock:
            return self._remove(packed(id))

    def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        """Return up to `k` neighbours in the scope, best first, the newer of two equals first.

        Never one that is expired at `now`, removed, or of another scope. Raises `BadVector`.
        """
        query = np.ascontiguousarray(vector, np.float32)
        if query.shape != (self.dim,):
            raise BadVector(f"vector {query.shape}, dimension {self.dim}")
        with self._lock:
            partition = self._scopes.get(scope)
            if not partition:
                return []
            self._scopes.move_to_end(scope)
            return partition.search(query, k, now) if k > 0 else []

    def expire(self, now: float) -> list[str]:
        """Remove what is past its deadline; return the ids."""
        gone: list[str] = []
        with self._lock:
            partitions = list(self._scopes.values())
        for partition in partitions:  # a lock each: searches get in between
            with self._lock:
                expired = partition.expire(now)
                for name in expired:
                    self._forget(name, partition)
                self._forget_if_empty(partition)
            gone += [unpacked(name) for name in expired]
        return gone

    def compact(self) -> None:
        """Drop what was removed from memory too. Takes some milliseconds a scope."""
        with self._long_job:
            with self._lock:
                partitions = list(self._scopes.values())
            for partition in partitions:
                with self._lock:
                    partition.compact(whole=True)

    def pending(self) -> list[str]:
        """Return the scopes that `maintain` would train."""
        with self._lock:
            return [s for s, p in self._scopes.items() if p.outgrown(self._ivf_from)]

    def maintain(self, stopped: Stopped = lambda: False) -> list[str]:
        """Train inverted lists where a scope outgrew its structure; return those scopes.

        Takes seconds, two minutes for a million vectors: call it in a worker thread. Meanwhile
        everything else works, and what is added or removed is neither lost nor brought back. Once
        `stopped` returns True it ends within a second, and what was not trained is pending.
        """
        trained = []
        with self._long_job, contextlib.suppress(TrainingStopped):
            for scope in self.pending():
                partition = self._scopes.get(scope)
                if partition is not None:
                    self._train(partition, stopped)
                    trained.append(scope)
        if trained:
            give_back()
        return trained

    def put_back(self, block: Block) -> None:
        """Add a block of another index's `blocks`, into the inverted lists that it was in there.

        Blocks of a scope come one after the other. Raises `BadVector` and `ValueError`.
        """
        self._extend(block)

    def blocks(self) -> Generator[Block, None, None]:
        """Copy everything out, a few thousand vectors at a time, the index in use meanwhile.

        The scope that was searched last comes first. What is added after the call may be missing,
        what is removed may be there.
        """
        with self._long_job:
            with self._lock:
                partitions = list(reversed(self._scopes.values()))
            for partition in partitions:
                with self._lock:
                    next_key, shelves = partition.freeze(), partition.shelves()
                try:
                    lists = partition.lists()  # only a training, a long job too, makes others
                    for number in range(shelves):
                        with self._lock:
                            rows = partition.shelf(number, next_key)
                            block = partition.block(*rows, lists, number)
                        if block.ids:
                            yield block
                finally:
                    with self._lock:
                        partition.thaw()

    def _train(self, partition: Partition, stopped: Stopped) -> None:
        with self._lock:
            next_key = partition.freeze()
            rows, shelves = len(partition), partition.shelves()
        try:
            keys, vectors = np.empty(rows, np.int64), np.empty((rows, self.dim), np.float16)
            end = 0
            for number in range(shelves):
                with self._lock:
                    some, halves = partition.shelf(number, next_key)
                start, end = end, end + len(some)
                keys[start:end], vectors[start:end] = some, halves
            if end:  # all may have been removed by now
                lists = train(keys[:end], vectors[:end], stopped)
                with self._lock:
                    partition.adopt(lists)
        finally:
            with self._lock:
                partition.thaw()

    def _remove(self, name: Name) -> bool:
        key = self._key_of.pop(name, None)
        if key is None:
            return False
        partition = self._numbered[number_of(key)]
        partition.remove(key)
        self._forget_if_empty(partition)
        return True

    def _forget(self, name: Name, partition: Partition) -> None:
        # Else it is of a scope that was loaded again.
        if number_of(self._key_of.get(name, -1)) == partition.number:
            del self._key_of[name]

    def _forget_if_empty(self, partition: Partition) -> None:
        if not len(partition) and self._scopes.get(partition.scope) is partition:
            del self._scopes[partition.scope]
            del self._numbered[partition.number]
