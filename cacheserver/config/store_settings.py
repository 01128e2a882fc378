"""Settings of the store: where it is, how much it may hold, and its encryption."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, Field, field_validator

from cacheserver.config.fields import Secret, setting
from cacheserver.config.sizes import BytesLimit
from cacheserver.storage import node_url

# A hundredth of the default of answers: a unit that was forgotten (`2` for `2GB`) deletes nothing.
_LEAST_BYTES: Final = 10_000_000


class StoreSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local/share/cacheserver",
        description="The folder of the embedded store, the index snapshot and the model.",
        json_schema_extra={
            "why": "The XDG data home: what is kept outlives a reboot and needs no rights.",
            "shown": "`$XDG_DATA_HOME/cacheserver`, else `~/.local/share/cacheserver`",
        },
    )
    redis_url: Secret = setting(
        None,
        "Your own Redis or Valkey: `redis://`, `rediss://` or `unix://`; with replicas "
        "`redis+sentinel://host:port,.../service` or `redis+cluster://host:port,...` "
        "([how](running.md#your-own-redis)). A secret: it may hold a password.",
        "Without it, a Valkey is started in the data directory and nothing need be installed.",
    )
    index: Literal["faiss", "vector-sets"] = setting(
        "faiss",
        "Where the vectors of questions are searched: `faiss`, in this process; or `vector-sets`, "
        "in Redis 8 or a cluster of it ([when and how](vector-sets.md)).",
        "A search in memory takes no round trip, and needs no Redis 8.",
        live=True,
    )
    index_bytes: BytesLimit = setting(
        None,
        "Bytes of memory for the vectors of `faiss`. Beyond it the scopes that were asked the "
        "longest ago are dropped from memory; each is loaded again when it is asked "
        "([scopes](scaling.md#more-scopes-than-memory)). `unlimited`: no bound.",
        "A million questions take 1.3 GB; most servers have far fewer.",
        shown="unlimited",
        live=True,
        live_least=_LEAST_BYTES,
    )
    index_redis_url: Secret = setting(
        None,
        "Redis 8 for the vector sets, one server or a cluster, written as in "
        "`CACHESERVER_REDIS_URL`. A secret: it may hold a password.",
        "Without it, the store itself.",
    )
    index_scope_vectors: int = setting(
        150_000,
        "Vectors in one set. A scope with more has several, on several nodes of a cluster, and a "
        "search asks each.",
        "The nearest of 155,000 was found in at least 99% of searches, of a million in one set "
        "in 88% ([measured](scaling.md#a-million-vectors-in-faiss-and-in-vector-sets)).",
        ge=100,
        le=1_000_000_000,
    )
    redis_ca_file: Path | None = setting(
        None,
        "Certificates in PEM that `rediss://` trusts: those of your own CA.",
        "Without it, those that this machine trusts.",
    )
    redis_cert_file: Path | None = setting(
        None,
        "The client certificate for `rediss://`, in PEM, with what leads to its CA.",
        "Without it, none is shown; few servers ask for one.",
    )
    redis_key_file: Path | None = setting(
        None,
        "The private key of that certificate, in PEM and not encrypted.",
        "Without it, it is read from the certificate's file.",
    )
    redis_prefix: str = setting(
        "cs1:",
        "The prefix of every key in Redis. On a cluster it is put in braces, `{cs1:}`, which "
        "brings all keys to one node.",
        "Short, since every entry pays for it; its digit is raised if the layout changes.",
        pattern=r"^([A-Za-z0-9._:-]{1,32}|\{[A-Za-z0-9._:-]{1,32}\})$",
    )
    redis_replicas: int | None = setting(
        None,
        "How many replicas of Redis must have a purge, an erasure, a revocation or a changed bar "
        "before it is acknowledged; else it is answered 503.",
        "0 for one server; 1 with Sentinel or Cluster, where one of them may take over.",
        shown="0; 1 with Sentinel or Cluster",
        ge=0,
        le=9,
    )
    store_wait_s: float = setting(
        0.25,
        "How long a request may wait for the store in all. After that it is answered without the "
        "store.",
        "A hundred times what the store takes, and not noticed beside a call to Claude.",
        gt=0,
        le=60,
        live=True,
        live_least=0.01,  # less answers every request without the store
    )
    max_bytes: BytesLimit = setting(
        1_000_000_000,
        "Bytes of stored answers; beyond it the least useful are removed. `unlimited`: no bound.",
        "About 400,000 answers of 2.5 kB, and no surprise on a laptop.",
        live=True,
        live_least=_LEAST_BYTES,
    )
    hot_bytes: int = setting(
        64_000_000,
        "Bytes of memory for answers and requests that come again and again, half for each. 0: "
        "off.",
        "Some 10,000 of each, which is most of the traffic of most caches.",
        ge=0,
        le=100_000_000_000,
    )
    max_decision_bytes: BytesLimit = setting(
        250_000_000,
        "Bytes of decision records, which live a day at most; beyond it the oldest are removed.",
        "Some 170,000 of 1.5 kB: a day of two requests a second, half an hour of a hundred.",
        live=True,
        live_least=_LEAST_BYTES,
    )
    max_ledger_bytes: BytesLimit = setting(
        250_000_000,
        "Bytes of ledger rows in Redis; beyond it the oldest are moved to files.",
        "A million rows of 250 bytes: a month of 23 requests a minute.",
        live=True,
        live_least=_LEAST_BYTES,
    )
    max_job_bytes: BytesLimit = setting(
        500_000_000,
        "Bytes of batches, jobs and their results. Beyond it the results that expire first are "
        "removed; if those are not enough, a new job is answered 429.",
        "Two of the largest batches (256 MB), packed to half, with their answers.",
        live=True,
        live_least=_LEAST_BYTES,
    )
    max_label_bytes: BytesLimit = setting(
        250_000_000,
        "Bytes of labels and of what was learned from them; beyond it the scopes without new "
        "labels for longest start anew.",
        "Some 600,000 labels of 420 bytes: six tenants with all the 100,000 each may have.",
        live=True,
        live_least=_LEAST_BYTES,
    )
    ledger_file_days: int = setting(
        365,
        "Days that ledger rows stay in files, after 30 days in Redis.",
        "A year, to be held against last year's.",
        ge=1,
        le=36_500,
    )
    encryption_key_file: Path | None = setting(
        None,
        "A file with the master key that all content in the store is encrypted under: 32 bytes as "
        "hex or base64 (`openssl rand -hex 32`), not readable by others.",
        "Without it nothing is encrypted: who loses the key loses the data, so it is asked for.",
    )
    encryption_key_command: str | None = setting(
        None,
        "A command that prints the master key, for example from a key service. It is run without "
        "a shell.",
        "Without it, the file; a key itself is in no variable.",
        min_length=1,
    )
    encryption_old_key_file: Path | None = setting(
        None,
        "The previous master key, while keys are rotated ([how](running.md#encryption)).",
        "Without it, one key opens everything, as it does between rotations.",
    )
    encryption_old_key_command: str | None = setting(
        None,
        "A command that prints the previous master key.",
        "Without it, the file.",
        min_length=1,
    )
    encryption_give_up: bool = setting(
        False,
        "Whether to start without the master key although the store has encrypted data. That "
        "data is then ignored: answers, conversations, jobs, decisions, gold sets, tenants' "
        "settings.",
        "A key that is missing by mistake must not look like an empty cache.",
    )

    @field_validator("index_redis_url")
    @classmethod
    def _known_index_scheme(cls, value: Secret) -> Secret:
        if value:
            node_url.check_scheme(value.get_secret_value())
        return value
