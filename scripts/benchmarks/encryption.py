"""Cost of encryption per hit: decrypted entries, an encrypted decision. On and off in one run."""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable
from typing import Any

from cacheserver.cache.store import codec, decision_log
from cacheserver.core.types import Entry, Usage
from cacheserver.encryption.data_keys import DataKeys, Generation
from cacheserver.encryption.sealer import TenantSealer
from cacheserver.storage.sealer import PlainSealer
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run

_TENANT, _FINGERPRINT = "acme", "f" * 64
_ANSWER_BYTES = 2_500  # an answer of some 600 tokens, as `CACHESERVER_MAX_BYTES` reckons
_DECISION_BYTES = 1_300  # of a hit (`scripts/bench bytes`)
_NEIGHBOURS = 10  # `CACHESERVER_TOP_K`
_ROUNDS, _CALLS = 600, 50  # the fastest round: what others do on the machine only adds
_MOST_US = 20.0  # of an exact hit, which takes some 300


def measure(_run: Run) -> list[dict[str, Any]]:
    off = PlainSealer()
    on = TenantSealer(DataKeys.__new__(DataKeys))  # keys in memory: no store is asked
    on.learn(_TENANT, [Generation(os.urandom(8), os.urandom(32), os.urandom(32))])
    plain = codec.pack_entry(_entry())
    sealed = codec.seal(on, "answers", tenant=_TENANT, fingerprint=_FINGERPRINT, value=plain)
    decision = os.urandom(_DECISION_BYTES)
    before = _us(lambda: codec.unpack_entry(codec.unseal(off, "answers", _FINGERPRINT, plain)))
    after = _us(lambda: codec.unpack_entry(codec.unseal(on, "answers", _FINGERPRINT, sealed)))
    noted = _us(lambda: on.seal(decision_log.KIND, _TENANT, "dec_" + "0" * 24, decision))
    return [
        row("an entry read, encryption off", before, "us"),
        row("an entry read, encryption on", after, "us"),
        row("a decision sealed", noted, "us"),
        at_most("an exact hit costs more by", after - before + noted, _MOST_US, "us"),
        row("a semantic hit, of ten neighbours", _NEIGHBOURS * (after - before) + noted, "us"),
    ]


def _us(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e6


def _entry() -> Entry:
    return Entry(
        id="0" * 32,
        tenant=_TENANT,
        namespace="default",
        fingerprint=_FINGERPRINT,
        scope="s" * 64,
        text="How can I return item 10000000?",
        model="claude-haiku-5-5",
        message=b"x" * _ANSWER_BYTES,
        usage=Usage(10, 600),
        cost=1_000,
        tags=(),
        created_at=1.0,
        expires_at=2.0,
    )
