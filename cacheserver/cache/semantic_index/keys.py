"""Names of the keys of vector sets, and what is written in them.

A scope has one set, and more of them (segments) once it is large. All are of one embedder; `mark`
stands for it. What is in braces is the hash tag, which decides the node of a cluster:

    P vs:{<mark>:<scope>:<n>}   vector set  segment n of a scope: vectors by entry and fingerprint
    P vz:{<mark>:<scope>:<n>}   zset        the same names by when the answer expires (s)
    P vr:{<mark>:r<shard>}      zset        segments, by when the first in each expires
    P vm:{<mark>:r<shard>}      hash        number of segments by scope, of scopes with several
    P vi:{<mark>}               hash        of all the sets: whether they hold all stored questions
                                            (`full`), when a server that uses them last said so
                                            (`used`, s), and a text that changes with each deletion
                                            (`version`)
    P vk                        set         marks of the embedders that have sets
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from cacheserver.storage.primary_views import untagged

# What such keys begin with, behind the prefix. All can be made anew from the stored vectors.
DERIVED = ("vs:", "vz:", "vr:", "vm:", "vi:", "vk")

SHARDS = 16  # of what lists the sets, so that no node holds all of it


@dataclass(frozen=True, slots=True)
class Segment:
    """One vector set of a scope."""

    scope: str
    number: int

    @property
    def member(self) -> str:
        return f"{self.number}:{self.scope}"

    @classmethod
    def of_member(cls, member: str) -> Segment:
        number, _, scope = member.partition(":")
        return cls(scope, int(number))


class Keys:
    """Keys of the sets of one embedder."""

    def __init__(self, prefix: str, mark: str) -> None:
        """The store's `prefix` loses its hash tag: only the first one in a key counts."""
        prefix = untagged(prefix)
        self.mark = mark
        self.marks = f"{prefix}vk"
        self.state = f"{prefix}vi:{{{mark}}}"
        self._prefix = prefix

    def vectors(self, segment: Segment) -> str:
        return f"{self._prefix}vs:{{{self.mark}:{segment.scope}:{segment.number}}}"

    def deadlines(self, segment: Segment) -> str:
        return f"{self._prefix}vz:{{{self.mark}:{segment.scope}:{segment.number}}}"

    def register(self, shard: int) -> str:
        return f"{self._prefix}vr:{{{self.mark}:r{shard}}}"

    def counts(self, shard: int) -> str:
        return f"{self._prefix}vm:{{{self.mark}:r{shard}}}"


def mark_of(embedder_id: str) -> str:
    """Return what stands for an embedder in the keys."""
    return hashlib.sha256(embedder_id.encode()).hexdigest()[:8]


def shard_of(scope: str) -> int:
    return zlib.crc32(scope.encode()) % SHARDS


def pack(id: str) -> bytes:
    """Return an element's name: half of its hexadecimal id. Raises `ValueError` if it is none."""
    return bytes.fromhex(id)


def unpack(element: bytes) -> str:
    return element.hex()
