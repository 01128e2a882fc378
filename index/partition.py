"""The vectors of one scope. Rule: not thread-safe; `VectorIndex` holds its lock around every call.

Rows lie in the order they were added and die in place (`_DEAD`); `compact` drops the dead. FAISS
knows a row by its number while the structure is flat, by its key once it is inverted lists: keys
rise, are never reused, and stay sorted, so a row is found from its key by bisection. No two
partitions of a process have a key in common, and a key tells its partition.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from cacheserver.index.lists import Halves, Keys, among, centroids_of, empty, one_thread, put
from cacheserver.index.models import Vectors
from cacheserver.index.names import Name, unpacked

_faiss: Any = faiss  # its stubs show the C++ constructors, not the Python ones

Shelf: TypeAlias = tuple[Keys, Halves]

_DEAD = -math.inf  # the deadline of a removed row
_SPARE = 8  # rows fetched past k: a few dead neighbours cost no second search
_SHELF = 4_096  # flat rows copied under one lock: 3 MB, well under a millisecond
_ROW_BITS = 33  # of a key: 8.6 billion rows of a partition
_numbers = itertools.count()  # 2^30 partitions of a process: each load of a scope is one


@dataclass(frozen=True, slots=True)
class Match:
    """Neighbour with its cosine."""

    id: str
    cosine: float  # -1..1


@dataclass(frozen=True, slots=True)
class Lists:
    """Inverted lists of one scope without their rows, for copying."""

    centroids: bytes
    trained_at: int  # rows of the scope when they were trained


@dataclass(frozen=True, slots=True)
class Block:
    """Entries of one scope, for copying: as many ids and deadlines as rows."""

    scope: str
    ids: list[str]
    expires_at: npt.NDArray[np.float64]
    vectors: Halves
    lists: Lists | None = None  # all of the scope; None: flat
    number: int = 0  # of the one that these rows are in


def number_of(key: int) -> int:
    """Return the number of the partition that the key is of."""
    return key >> _ROW_BITS


class Partition:
    def __init__(self, scope: str, dim: int, lists: Lists | None = None) -> None:
        """Raises `ValueError` for lists that are not of vectors of this dimension."""
        self.number = next(_numbers)
        self.scope = scope
        self.dim = dim
        self.trained_at = 0  # rows when the inverted lists were made; 0: flat
        self.frozen = False  # a copy is being made shelf by shelf: rows must not move
        self.late: list[tuple[Keys, Vectors]] | None = None  # added since
        self._near: Any = _faiss.IndexScalarQuantizer(
            dim, _faiss.ScalarQuantizer.QT_fp16, _faiss.METRIC_INNER_PRODUCT
        )
        self._names: list[Name] = []
        self._live = 0
        self._keys = np.empty(1, np.int64)
        self._expires = np.empty(1, np.float64)
        self._next_key = self.number << _ROW_BITS
        self._soonest = math.inf  # no live row expires before

        if lists is not None:
            self._near, self.trained_at = empty(lists.centroids, dim), lists.trained_at

    def __len__(self) -> int:
        return self._live

    def names(self) -> list[Name]:
        """Return the names of the live rows in the order in which they were added."""
        alive = (self._expires[: len(self._names)] != _DEAD).tolist()
        return list(itertools.compress(self._names, alive))

    def add(
        self,
        names: list[Name],
        vectors: Vectors | Halves,
        expires_at: npt.NDArray[np.float64],
        *,
        number: int | None = None,
    ) -> list[int]:
        """Add rows, none of which may be in already; return their keys.

        `number`: of the inverted list that they are in.
        """
        one_thread()
        start, end = len(self._names), len(self._names) + len(names)
        keys = np.arange(self._next_key, self._next_key + len(names))
        self._keys = _room(self._keys, end)
        self._expires = _room(self._expires, end)
        self._keys[start:end] = keys
        self._expires[start:end] = expires_at
        self._names.extend(names)
        self._live += len(names)
        self._next_key += len(names)
        self._soonest = min(self._soonest, float(np.min(expires_at)))
        if number is not None:
            put(self._near, number, keys, vectors.astype(np.float16, copy=False))
        elif vectors.dtype == np.float16 and not self.trained_at and self.late is None:
            self._near.add_sa_codes(vectors.view(np.uint8))  # FAISS keeps them just so
        else:
            rows: Vectors = vectors.astype(np.float32, copy=False)
            if self.trained_at:
                self._near.add_with_ids(rows, keys)
            else:
                self._near.add(rows)
            if self.late is not None:
                self.late.append((keys, rows))
        numbers: list[int] = keys.tolist()
        return numbers

    def remove(self, key: int) -> None:
        """Remove a live row."""
        self._expires[np.searchsorted(self._keys[: len(self._names)], key)] = _DEAD
        self._live -= 1
        self.compact()

    def expire(self, now: float) -> list[Name]:
        """Remove what is past its deadline; return the names."""
        if self._soonest > now:
            return []
        expires = self._expires[: len(self._names)]
        rows = np.flatnonzero((expires <= now) & (expires != _DEAD))
        gone = [self._names[row] for row in rows]
        self._live -= len(gone)
        expires[rows] = _DEAD
        alive = expires[expires != _DEAD]
        self._soonest = float(alive.min()) if len(alive) else math.inf
        self.compact()
        return gone

    def compact(self, *, whole: bool = False) -> None:
        """Drop the dead rows once they are a quarter, or `whole`; not while a copy is made."""
        rows = len(self._names)
        dead = rows - self._live
        if self.frozen or not dead or (not whole and (dead <= _SPARE or dead * 4 < rows)):
            return
        gone = self._expires[:rows] == _DEAD
        if self.trained_at:
            self._near.remove_ids(_faiss.IDSelectorBatch(self._keys[:rows][gone]))
        else:
            self._near.remove_ids(_faiss.IDSelectorBitmap(np.packbits(gone, bitorder="little")))
        self._keys = self._keys[:rows][~gone]
        self._expires = self._expires[:rows][~gone]
        self._names = list(itertools.compress(self._names, (~gone).tolist()))

    def search(self, vector: Vectors, k: int, now: float) -> list[Match]:
        """Return the k most similar live rows, best first, the newer of two equals first."""
        one_thread()
        fetch, chosen = k + _SPARE, None
        while True:
            fetch = min(fetch, len(self._names))
            scores, labels = self._near.search(vector[None], fetch, params=chosen)
            count = int(np.count_nonzero(labels[0] >= 0))  # FAISS fills up with -1
            rows = self._rows(labels[0, :count])
            # Lists: of a dozen rows they are sorted sooner than arrays.
            found = sorted(
                (-score, -row)
                for score, row, deadline in zip(
                    scores[0, :count].tolist(),
                    rows.tolist(),
                    self._expires[rows].tolist(),
                    strict=True,
                )
                if deadline > now
            )[:k]
            # An equal of the k-th may lie beyond what was fetched, and be newer.
            settled = len(found) >= k and -found[-1][0] > float(scores[0, count - 1])
            seen_all = count < fetch or fetch == len(self._names)
            if settled or (seen_all and (chosen is not None or not self.trained_at)):
                return [
                    Match(unpacked(self._names[-row]), min(1.0, -score)) for score, row in found
                ]
            # The dead or the equal crowd the top: look again, wider, among the live only. In
            # inverted lists that means all lists: a scope where this happens awaits a sweep.
            fetch, chosen = fetch * 4, self._live_only(now)

    def outgrown(self, ivf_from: int) -> bool:
        """Return whether to train inverted lists: none yet, or for half of the rows."""
        return len(self) >= max(ivf_from, 2 * self.trained_at)

    def shelves(self) -> int:
        """Return the number of shelves; it does not change while `frozen`."""
        return self._near.nlist if self.trained_at else -(-len(self._names) // _SHELF)

    def shelf(self, number: int, before: int) -> Shelf:
        """Return copies of a shelf's live keys and vectors, of the keys below `before`.

        Those of `freeze`: the last shelf fills up, and one that is replaced comes again.
        """
        if self.trained_at:
            lists = self._near.invlists
            size = lists.list_size(number)
            if not size:
                return np.empty(0, np.int64), np.empty((0, self.dim), np.float16)
            keys = _faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = _faiss.rev_swig_ptr(lists.get_codes(number), size * self._near.code_size)
        else:
            start = number * _SHELF
            size = min(_SHELF, len(self._names) - start)
            keys = self._keys[start : start + size]
            pointer = _faiss.rev_swig_ptr(self._near.codes.data(), self._near.codes.size())
            width = self._near.code_size
            codes = pointer[start * width : (start + size) * width]
        live = (self._expires[self._rows_of_keys(keys)] != _DEAD) & (keys < before)
        return keys[live], codes.view(np.float16).reshape(size, self.dim)[live]

    def lists(self) -> Lists | None:
        """Return the inverted lists without their rows; None if there are none."""
        return Lists(centroids_of(self._near), self.trained_at) if self.trained_at else None

    def block(self, keys: Keys, vectors: Halves, lists: Lists | None, number: int) -> Block:
        """Return a shelf with the names and deadlines of its rows, the oldest first."""
        order = np.argsort(keys)  # lists lose it; equal vectors share a shelf, so age survives
        rows = self._rows_of_keys(keys[order])
        ids = [unpacked(self._names[row]) for row in rows]
        return Block(self.scope, ids, self._expires[rows], vectors[order], lists, number)

    def freeze(self) -> int:
        """Keep the rows where they are and note what is added; return the key that comes next."""
        self.frozen, self.late = True, []
        return self._next_key

    def thaw(self) -> None:
        self.frozen, self.late = False, None
        self.compact()

    def adopt(self, lists: Any) -> None:
        """Search in `lists` from now on; they hold every row but those added since `freeze`."""
        for keys, vectors in self.late or ():
            lists.add_with_ids(vectors, keys)
        self._near, self.trained_at = lists, max(1, len(self))

    def _rows(self, labels: Keys) -> npt.NDArray[np.int64]:
        return self._rows_of_keys(labels) if self.trained_at else labels

    def _rows_of_keys(self, keys: Keys) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._keys[: len(self._names)], keys)

    def _live_only(self, now: float) -> Any:
        """Return FAISS search parameters that leave out the dead and, with lists, probe all."""
        live = self._expires[: len(self._names)] > now
        if not self.trained_at:
            bits = np.packbits(live, bitorder="little")
            return _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bits))
        dead = _faiss.IDSelectorBatch(self._keys[: len(self._names)][~live])
        return among(self._near, _faiss.IDSelectorNot(dead))


def _room(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """Return the array with space for `rows`, doubled when it is full."""
    if rows <= len(array):
        return array
    grown = np.empty(max(rows, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown
