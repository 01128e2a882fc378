"""Inverted lists over FAISS, for scopes in which exact search is too slow.

A list has a centroid, and centroids lie in groups, which have one too: a question is compared with
the centroids of the nearest groups, and with the vectors of the nearest lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.int64]
Halves: TypeAlias = npt.NDArray[np.float16]
Stopped: TypeAlias = Callable[[], bool]  # whether to give a training up

_faiss: Any = faiss  # its stubs show the C++ constructors, not the Python ones

# A million vectors in one scope, asked for near-duplicates (cosine 0.92): recall@1 1.0 in 0.7 ms.
# With 16 groups it was 0.993 in the same time.
_PROBED = 24
_GROUPS_PROBED = 24
_ROWS = 125  # of a list in a large scope; a small one has two lists for each of the square root
_TRAINED_ON = 40  # vectors a list; FAISS asks for 39 at least
_GROUP_TRAINED_ON = 200  # vectors a group
_ROUNDS = 10  # of training; 25 found no more neighbours
_CHUNK = 4_096  # rows widened to single precision at a time: 6 MB


class TrainingStopped(Exception):
    """A training was given up."""


def train(keys: Keys, vectors: Halves, stopped: Stopped) -> Any:
    """Return inverted lists that hold `vectors` under `keys`. Raises `TrainingStopped`.

    About 4 s for 100k on one core, two minutes for a million; the interpreter's lock is released
    meanwhile. `stopped` is asked several times a second.
    """
    one_thread()
    rows = len(vectors)
    lists = max(1, min(max(2 * math.isqrt(rows), rows // _ROWS), rows // _TRAINED_ON))
    sample = vectors[:: max(1, rows // (lists * _TRAINED_ON))]
    index = _lists(_finder(sample, lists, stopped), _PROBED)
    _fill(index, keys, vectors, stopped)
    return index


def centroids_of(index: Any) -> bytes:
    """Return the centroids of inverted lists in their groups, for `empty`."""
    packed: bytes = _faiss.serialize_index(index.quantizer).tobytes()
    return packed


def empty(centroids: bytes, dim: int) -> Any:
    """Return empty inverted lists with these centroids. Raises `ValueError` for other bytes."""
    try:
        finder = _faiss.deserialize_index(np.frombuffer(centroids, np.uint8))
    except (RuntimeError, AssertionError, MemoryError) as error:  # what FAISS raises
        raise ValueError("these are no centroids") from error
    if not isinstance(finder, faiss.IndexIVFScalarQuantizer) or finder.d != dim:
        raise ValueError("these are no centroids of such vectors")
    finder.nprobe = min(finder.nlist, _GROUPS_PROBED)
    return _lists(finder, _PROBED)


def put(index: Any, number: int, keys: Keys, vectors: Halves) -> None:
    """Put rows into the list with this number. Raises `ValueError` if there is none."""
    if not 0 <= number < index.nlist:
        raise ValueError(f"there is no list {number}")
    # Named, because a pointer does not keep its array alive.
    some, codes = np.ascontiguousarray(keys), np.ascontiguousarray(vectors).view(np.uint8)
    index.invlists.add_entries(number, len(some), _faiss.swig_ptr(some), _faiss.swig_ptr(codes))
    index.ntotal += len(some)


def among(index: Any, selector: Any) -> Any:
    """Return the parameters of a search in all lists, for what the selector of FAISS lets in."""
    finder = _faiss.downcast_index(index.quantizer)
    groups = _faiss.SearchParametersIVF(nprobe=finder.nlist)
    return _faiss.SearchParametersIVF(sel=selector, nprobe=index.nlist, quantizer_params=groups)


def one_thread() -> None:
    """Keep FAISS from spreading this thread's calls over the cores.

    One query gains nothing from it, and waiting for a busy core cost 20 ms at the 99th percentile.
    """
    _faiss.omp_set_num_threads(1)  # 0.1 us; a setting of the calling thread alone


def _finder(sample: Halves, lists: int, stopped: Stopped) -> Any:
    """Return about `lists` centroids of the vectors, in their groups."""
    count = math.isqrt(lists)
    top = _means(sample[:: max(1, len(sample) // (count * _GROUP_TRAINED_ON))], count)
    home = _nearest(top, sample, stopped)
    finder = _lists(top, _GROUPS_PROBED)
    for group, size in enumerate(np.bincount(home).tolist()):
        _go_on(stopped)
        if size:
            means = _means(sample[home == group], max(1, round(lists * size / len(sample))))
            finder.add(means.reconstruct_n(0, means.ntotal))
    return finder


def _means(vectors: Halves, count: int) -> Any:
    """Return the centroids of a k-means clustering as an index, compared by inner product."""
    rows, dim = vectors.shape
    chosen = _faiss.ClusteringParameters()
    chosen.niter = _ROUNDS
    chosen.spherical = True  # the centroids of unit vectors are unit vectors
    chosen.min_points_per_centroid = 1  # fewer than FAISS asks for are no reason to print
    chosen.max_points_per_centroid = rows
    means = _faiss.IndexFlatIP(dim)
    _faiss.Clustering(dim, min(count, rows), chosen).train(vectors.astype(np.float32), means)
    return means


def _lists(centroids: Any, probed: int) -> Any:
    """Return empty inverted lists, one for each vector of an index; the nearest are searched."""
    index = _faiss.IndexIVFScalarQuantizer(
        centroids,
        centroids.d,
        centroids.ntotal,
        _faiss.ScalarQuantizer.QT_fp16,
        _faiss.METRIC_INNER_PRODUCT,
        False,  # whole vectors, not residuals: they are copied in and out without centroids
    )
    index.nprobe = min(index.nlist, probed)
    index.is_trained = True  # half precision has nothing to learn
    return index


def _nearest(centroids: Any, vectors: Halves, stopped: Stopped) -> Keys:
    """Return the number of the centroid that is nearest to each vector."""
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), _CHUNK):
        _go_on(stopped)
        some = vectors[start : start + _CHUNK].astype(np.float32)
        nearest[start : start + _CHUNK] = centroids.assign(some, 1)[:, 0]
    return nearest


def _go_on(stopped: Stopped) -> None:
    if stopped():
        raise TrainingStopped


def _fill(index: Any, keys: Keys, vectors: Halves, stopped: Stopped) -> None:
    """Add a list at a time: lists that grow row by row left 150 MB of holes at 100k."""
    home = _nearest(index.quantizer, vectors, stopped)
    order = np.argsort(home, kind="stable")
    ends = np.cumsum(np.bincount(home, minlength=index.nlist))
    for number, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            put(index, number, keys[rows], vectors[rows])
