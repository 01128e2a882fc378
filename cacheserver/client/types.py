"""Values that the client returns, and errors that it raises.

ClientError                 anything the client raises on purpose; a `CacheServerError`
├── ConnectionFailed        no whole answer came: refused, lost, timed out, a stream cut short
├── UnexpectedAnswer        an answer came that no cacheserver gives: a wrong URL, a proxy's page
└── StatusError             the server said no: `status`, `type`, `request_id`
    ├── BadRequestError     4xx: the message names the field
    ├── AuthenticationError 401, 403: the key
    ├── NotFoundError       404
    ├── NotCachedError      404: `cache="only"`, and no stored answer may be served
    ├── RateLimitError      429
    └── UpstreamFailed      5xx: Claude, or the server, failed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias, TypedDict

from cacheserver.core.errors import CacheServerError
from cacheserver.core.types import Usage

CacheMode: TypeAlias = Literal["default", "refresh", "only", "off"]


class Asked(TypedDict, total=False):
    """Fields of a question besides the prompt. The server has a default for each."""

    messages: Sequence[Mapping[str, Any]]  # instead of a prompt
    system: str | Sequence[Mapping[str, Any]]
    model: str  # "auto": the cheapest that can
    max_tokens: int
    namespace: str
    task: str  # what kind of work it is; part of what is asked
    requires_deep_analysis: bool  # never answered with what was not asked for that
    schema: Mapping[str, Any]  # a JSON schema that the answer follows; part of what is asked
    question: str  # what a larger prompt asks, stand-alone; where the tenant's settings allow it
    context: str | Sequence[str]  # keys of what the answer rests on, such as "kb@v42"; to purge by
    context_blocks: Sequence[str]  # what these replace: "system.1", "messages.0:-1", ...
    actor: str  # the end user who asks; kept as a digest only


class PutOptions(Asked, total=False):
    """Options of an answer of your own, besides the prompt."""

    ttl_s: int  # how long to keep it, at most as long as the tenant's settings allow
    tags: Sequence[str]  # to purge by
    tenant: str  # with an admin key: whose it is


class Options(Asked, total=False):
    """Options of a query besides the prompt. The server has a default for each."""

    ttl_s: int  # 0: do not store
    tags: Sequence[str]  # to purge by
    cache: CacheMode  # refresh: ask Claude and replace; only: never ask Claude; off: share nothing
    conversation: str  # a name of yours: the turns so far are kept by the server and come before
    # Of "routing", "prompt-caching", "batching", "output-cap", "history", "verify".
    levers_off: Sequence[str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Stored question near to the one asked, and how it was judged."""

    entry_id: str
    question: str | None  # where it was served
    similarity: float  # cosine, -1..1
    probability: float | None  # that its answer serves; None: vetoed, or not asked for
    veto: str | None
    supported: bool | None
    age_s: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Source of an answer, and the reason."""

    kind: str  # exact | semantic | coalesced | stale | miss | bypass
    reason: str
    similarity: float | None = None  # cosine to `matched`, or to what came nearest; -1..1
    matched: str | None = None  # the stored question that was served; None on a miss
    age_s: int | None = None
    bar: float | None = None  # the similarity or probability that had to be reached
    probability: float | None = None  # that the stored answer serves; 0..1
    target: float | None = None  # the share of semantic hits that may be wrong
    veto: str | None = None  # the rule that refuses what came nearest
    candidates: Sequence[Candidate] = ()  # the nearest stored questions, the most similar first

    @property
    def hit(self) -> bool:
        """True where no call to Claude was made for this caller."""
        return self.kind not in ("miss", "bypass")


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with its source, cost and saving."""

    text: str
    content: Sequence[Mapping[str, Any]]  # Claude's blocks, as they came
    decision: Decision
    model: str  # that answered
    stop_reason: str | None  # as Claude's: "max_tokens" is an answer cut short
    usage: Usage  # of a hit, that of its first asking
    cost_usd: Decimal | None  # None: no price is known for the model
    saved_usd: Decimal | None
    batch_eligible: bool  # could have gone through Message Batches, at half the price
    ttl_s: int | None  # how long the answer is kept, as granted
    entry_id: str | None  # what to purge; None: nothing is stored
    decision_id: str | None
    request_id: str | None
    origin: str = "claude"  # "claude", "simulated", "curated" by an operator, "own": yours, by put


@dataclass(frozen=True, slots=True)
class Stored:
    """Outcome of `put`. `unstored` says why nothing was stored, such as `ttl-0`."""

    entry_id: str | None  # what to purge; None: nothing is stored
    ttl_s: int | None  # as granted
    replaced: str | None = None  # the id of the answer that it took the place of
    unstored: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Deferred question, or a batch, and how far it is. Times are Unix seconds."""

    id: str
    kind: str  # "query" | "batch"
    status: str  # "ended" at its end
    total: int  # items, of which `done` have ended
    done: int
    created_at: float
    deadline: float | None
    ended_at: float | None
    counts: Mapping[str, int]  # of ended items, by how they ended
    webhook: str | None  # its state
    result: Mapping[str, Any] | None  # of a question that has ended: `type`, `text`, `content`, ...

    @property
    def ended(self) -> bool:
        """Return True once nothing of it is under way."""
        return self.status == "ended"

    @property
    def text(self) -> str | None:
        """Return the answer's text; None if there is none: not yet, failed, or a batch."""
        return None if self.result is None else self.result.get("text")


class Purge(TypedDict, total=False):
    """Selector of a purge: one of these."""

    entry_id: str | None
    tag: str | None
    context: str | None  # a key of declared questions
    namespace: str | None


class Erasure(TypedDict, total=False):
    """Selector of an erasure: one of these, or a conversation and its namespace."""

    entry_id: str | None
    tag: str | None
    conversation: str | None
    actor: str | None
    namespace: str | None
    tenant: str | None  # your own name; all you have


class ClientError(CacheServerError):
    """Base of all errors. `status` is None if no response arrived."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str = "client_error",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message if request_id is None else f"{message} (request {request_id})")
        self.message = message
        self.status = status
        self.type = type
        self.request_id = request_id


class ConnectionFailed(ClientError):
    """Raised when no complete response arrived. A retry is safe: the server calls Claude once.

    `begun`: the response had begun to arrive.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str = "connection_error",
        request_id: str | None = None,
        begun: bool = False,
    ) -> None:
        super().__init__(message, status=status, type=type, request_id=request_id)
        self.begun = begun


class UnexpectedAnswer(ClientError):
    """Raised if the response is not one of cacheserver."""


class StatusError(ClientError):
    """Error response of the server, in Anthropic's format."""


class BadRequestError(StatusError):
    """Raised for an invalid request; a retry would fail again."""


class AuthenticationError(StatusError):
    """Raised when the key is missing, wrong, or lacks permission."""


class NotFoundError(StatusError):
    """Raised if the resource does not exist or was deleted."""


class NotCachedError(NotFoundError):
    """Raised for `cache="only"` if no stored answer may be served."""


class RateLimitError(StatusError):
    """Too much, too fast; waited for as often as `max_retries` allows."""


class UpstreamFailed(StatusError):
    """Claude, or the server, failed; tried again as often as `max_retries` allows."""
