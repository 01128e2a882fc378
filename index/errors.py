"""Errors of this library.

IndexingError
├── Unreadable       a text that the embedder cannot see the whole of
│   ├── TooLong      beyond its window; nothing is ever truncated
│   ├── Refused      an embeddings endpoint takes others, and not this one
│   └── Unknown      signs outside its vocabulary: all of them would look the same
├── ModelDamaged     a model folder that is not what its model.json says, or is not there
├── EmbedderFailed   an embeddings endpoint that is slow, away, or answers what it should not
│   ├── ModelChanged another model answers than the one that the stored vectors are of
│   └── ModelMissing there is no model: nothing is matched by similarity
├── ExportFailed     the model could not be made: wrong weights, or vectors that drifted
├── BadVector        a vector of the wrong shape, or not of unit length
├── SnapshotRefused  a snapshot that is damaged, or of another embedder
├── QueueFull        more texts wait for the embedder than the batcher holds
└── Closed           asked after `close()`
"""

from __future__ import annotations


class IndexingError(Exception):
    """Base of all errors of this package. No message holds a text."""


class Unreadable(IndexingError):
    """The vector would represent only part of the text: do not match it by similarity."""

    at: int | None = None  # the place of the text among several; None: not known, or the only one


class TooLong(Unreadable):
    """More word pieces than the embedder reads."""


class Unknown(Unreadable):
    """The text has signs the embedder knows only as "unknown", or none that it knows.

    "What does \N{GRINNING FACE} mean?" has cosine 1 to the same question about any other sign.
    """


class Refused(Unreadable):
    """The embeddings endpoint does not take the text, or one of several."""


class ModelDamaged(IndexingError):
    """The folder holds no usable model; export it again."""


class EmbedderFailed(IndexingError):
    """The embeddings endpoint gave no vectors; treat it as a failed look-up."""


class ModelChanged(EmbedderFailed):
    """Another model is behind the endpoint: its vectors are not comparable with stored ones."""


class ModelMissing(EmbedderFailed):
    """There is no model; a restart with one embeds what was stored meanwhile."""


class ExportFailed(IndexingError):
    """Raised if the export failed; no model was written."""


class BadVector(IndexingError):
    """Raised for a vector that is not finite, not of length 1, or of another dimension."""


class SnapshotRefused(IndexingError):
    """The file is no snapshot of this index; start from the store instead."""


class QueueFull(IndexingError):
    """Too many texts are waiting; treat it as a failed look-up."""


class Closed(IndexingError):
    """The batcher was closed."""
