"""The nouns of the whole tree: frozen values with no behaviour beyond their own arithmetic.

Those of a call (`core.planned_call`, `core.usage`, `core.money`) can be imported from here too.
Times are Unix seconds (`float`), durations whole seconds (`_s`), money whole nanodollars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from cacheserver.core.evidence import Evidence
from cacheserver.core.money import Nanodollars as Nanodollars
from cacheserver.core.planned_call import Cap as Cap
from cacheserver.core.planned_call import Mark as Mark
from cacheserver.core.planned_call import Plan as Plan
from cacheserver.core.planned_call import PlannedCall as PlannedCall
from cacheserver.core.planned_call import Route as Route
from cacheserver.core.planned_call import Tried as Tried
from cacheserver.core.planned_call import Trim as Trim
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.rules.bounds import NAME, STRICT, TAG, Bound
from cacheserver.core.rules.budgets import BudgetRules
from cacheserver.core.rules.caching import CachingRules
from cacheserver.core.rules.declared import DeclaredRules
from cacheserver.core.rules.history import HistoryRules
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.limits import Limits
from cacheserver.core.rules.routing import Model, RoutingRules
from cacheserver.core.rules.validation import Check
from cacheserver.core.rules.verification import VerificationRules
from cacheserver.core.usage import Usage as Usage

AUTO = "auto"  # keyed as such: which model it will be is not known when an answer is sought
# What the SDK sends where the caller names no version: saying it makes no other request of it.
API_VERSION = "2026-10-21"
# Stands for "left to us" in the identity of a question that names no `max_tokens`; sent where
# output caps are off.
MAX_TOKENS: Final = 1_024
# The lifetime of an answer, and the longest a caller may ask for, where neither the server's
# settings nor the tenant's say otherwise.
DEFAULT_TTL_S: Final = 3_600
MAX_TTL_S: Final = 2_592_000  # 30 days
MOST_TTL_S: Final = 365 * 86_400  # the longest that an operator may set

# A body of an admin may always have so many bytes, or no limit that is too small could be changed.
LEAST_BODY_BYTES: Final = 1024**2

Ttl: TypeAlias = Annotated[int, Bound(least=0, most=MOST_TTL_S)]
Name: TypeAlias = Annotated[str, NAME]
HitKind: TypeAlias = Literal["exact", "semantic", "coalesced", "stale"]

# What a miss is made cheaper by; each can be switched off, by a tenant and for one request.
LEVERS = ("routing", "prompt-caching", "batching", "output-cap", "history", "verify")

# The embedder of stored data that do not say which one they are of: vectors, fitted weights.
FIRST_EMBEDDER: Final = "all-MiniLM-L6-v2:53aa51172d14:int8-per-channel:mean"


@dataclass(frozen=True, slots=True)
class Declaration:
    """A caller's statement of what a larger prompt asks, and of what that replaces in its keys."""

    question: str  # stand-alone, as the caller wrote it; "": not given with the controls
    context: tuple[str, ...] = ()  # keys of what the answer rests on, sorted
    blocks: tuple[str, ...] = ()  # names of the blocks and turns that are replaced


@dataclass(frozen=True, slots=True)
class Controls:
    """Cache controls of one request. Only `declared` can widen what is served, where a tenant
    allows it; the others tighten.
    """

    read: bool = True  # False for `no-cache`: the new answer replaces the entry
    store: bool = True  # False for `no-store`: neither read nor written
    only: bool = False  # `only-if-cached`: a miss is a 404
    max_age_s: int | None = None  # only entries at most this old
    min_fresh_s: int = 0  # only entries that live at least this much longer
    max_stale_s: int | None = None  # at most this long past its deadline; None: the tenant's bound
    ttl_s: int | None = None  # None: the default; 0: do not store
    tags: tuple[str, ...] = ()
    namespace: str = "default"
    task: str | None = None
    deep: bool = False  # the caller requires deep analysis
    off: tuple[str, ...] = ()  # levers the caller wants left alone, of `LEVERS`
    check: Check | None = None  # what the answer must be like; else it is asked again, not stored
    actor: str | None = None  # the end user, as a digest (`core.actors`); never in a fingerprint
    declared: Declaration | None = None  # the question inside a larger prompt


@dataclass(frozen=True, slots=True)
class Query:
    """Parsed request."""

    body: Mapping[str, Any]  # the caller's JSON, opaque beyond the fields we act on
    raw: bytes  # what goes upstream, as it came
    headers: Mapping[str, str]  # the caller's headers that go upstream, lower-case names
    tenant: Tenant
    controls: Controls
    fingerprint: str  # hex SHA-256
    scope: str  # hex SHA-256
    label_scope: str  # the same without context keys: bars and labels outlive a document's version
    # The last user text, or the declared question; None where it must not be matched by similarity.
    text: str | None
    exact_only: str | None  # why `text` is None: "tools", "image", ...
    bypass: str | None  # why nothing may be shared or stored: "no-store", "container", ...
    model: str  # as asked, "auto" included
    stream: bool
    credential: str | None = None  # the caller's own Anthropic key; None: the server's
    key_id: str | None = None  # which of the tenant's keys asked; None: it has none
    volatile: str | None = None  # what the answer depends on: "time", "place", "personal"
    ttl_cap_s: int | None = None  # the longest such an answer may be kept
    open_ended: bool = False  # the caller left `max_tokens` to us; the body's is a placeholder
    conversation: str | None = None  # the caller's name for it, on `/v1/query`
    cheapest: bool = False  # a budget is at its end: only the cheapest tier may be asked
    actor: str | None = None  # the end user who asks, as a digest; None: not known
    caller: str = ""  # a digest of key and actor; "": neither is known
    background: bool = False  # nobody waits for it at a connection
    received_at: float | None = None  # with a job; None: just now


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer. A newer one is another entry with another id.

    Nothing of an entry changes but its deadline, which an operator may move.
    """

    id: str  # 32 hex digits, time-ordered, never reused
    tenant: str
    namespace: str
    fingerprint: str
    scope: str
    text: str | None  # the question, for the semantic tier; None: exact only
    model: str  # that answered
    message: bytes  # Claude's message, a JSON object without its "id"
    usage: Usage
    cost: Nanodollars | None  # paid when it was made; None: unpriced
    tags: tuple[str, ...]
    created_at: float
    expires_at: float  # past it, served only as `stale`
    actor: str | None = None  # who asked for it, as a digest; None: not known
    # By the simulated Claude, an operator or an application: nothing is learned from it.
    made_up: bool = False
    conversation: str | None = None  # it was asked in, as a digest; None: in none
    curated_by: str | None = None  # the admin who wrote the answer; None: nobody of them
    put_by: str | None = None  # the key, or admin, that put an answer of its own; None: none did

    @property
    def origin(self) -> Literal["claude", "simulated", "curated", "own"]:
        """Return who made the answer."""
        if self.curated_by is not None:
            return "curated"
        if self.put_by is not None:
            return "own"
        return "simulated" if self.made_up else "claude"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the query's scope and the evidence for serving it."""

    entry: Entry
    similarity: float  # cosine, -1..1
    group: str = ""  # entries of one group say the same; "": not compared
    evidence: Evidence | None = None  # what the probability was made of
    probability: float | None = None  # that its answer serves; None: not asked for, or vetoed
    veto: str | None = None  # the rule that refuses it
    supported: bool | None = None  # labels or the prior reach this far; None: not asked for
    adjustment: float = 0.0  # log odds that its own past took away
    corroborated: bool = False  # a second actor's answer agreed, or an operator pinned it
    pinned: bool = False
    penalty: float = 0.0  # cosine that its own past takes away under a threshold


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of a scope: a similarity threshold or an error target; without either, no hit."""

    similarity: float | None = None  # cosine, inclusive; goes before `target`
    target: float | None = None  # the share of semantic hits that may be wrong, (0, 0.5]
    top_k: int = 10
    vetoes_off: tuple[str, ...] = ()  # names of vetoes that do not hold here
    audit_share: float | None = None  # of hits, asked again in the background; None: as needed

    @property
    def exact_only(self) -> bool:
        return self.similarity is None and self.target is None


@dataclass(frozen=True, slots=True)
class Hit:
    candidate: Candidate | None  # None: coalesced with an answer that is not an entry (yet)
    kind: HitKind
    reason: str
    level: float | None = None  # the probability that had to be reached
    basis: str | None = None  # what set it: "prior" or "labels"
    audit_share: float = 0.0  # of hits like this one that are asked again
    neighbours: Sequence[Candidate] = ()  # all that came near, the most similar first


@dataclass(frozen=True, slots=True)
class Miss:
    reason: str
    likeliest: Candidate | None = None  # of those that came near; what is learned is of this one
    neighbours: Sequence[Candidate] = ()  # all that came near, the most similar first
    level: float | None = None
    basis: str | None = None
    vector: Any = None  # the question's embedding, where it was made; for the router

    @property
    def nearest(self) -> Candidate | None:
        return self.neighbours[0] if self.neighbours else None


@dataclass(frozen=True, slots=True)
class Bypass:
    reason: str


Decision: TypeAlias = Hit | Miss | Bypass


@dataclass(frozen=True, slots=True)
class TtlRule:
    """A default and a maximum for what matches every field that is set."""

    __pydantic_config__ = STRICT

    namespace: Name | None = None
    task: Name | None = None
    tag: Annotated[str, TAG] | None = None
    model: Model | None = None  # as the caller asks for it, `auto` included
    default_ttl_s: Ttl | None = None
    max_ttl_s: Ttl | None = None

    def __post_init__(self) -> None:
        if (self.namespace, self.task, self.tag, self.model) == (None,) * 4:
            raise ValueError("must name a namespace, a task, a tag or a model")
        if self.default_ttl_s is None and self.max_ttl_s is None:
            raise ValueError("must set `default_ttl_s` or `max_ttl_s`")


@dataclass(frozen=True, slots=True)
class VolatilityCaps:
    """The longest a volatile answer may live, in seconds. 0: not shared; None: no cap."""

    __pydantic_config__ = STRICT

    time_s: Ttl | None = 300  # weather and rates move within minutes; a burst of askers still hits
    drift_s: Ttl | None = 86_400  # a new president or record is rarely older news than a day
    place_s: Ttl | None = 0  # one asker's "near me" is not another's
    personal_s: Ttl | None = 0  # an operator who keeps one namespace a customer may raise it


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its settings. `tenants.tenant_json` checks them by their types."""

    name: str
    default_ttl_s: Ttl = DEFAULT_TTL_S
    max_ttl_s: Ttl = MAX_TTL_S
    stale_s: Ttl = 0
    # Each is evaluated for every answer that is stored.
    ttl_rules: Annotated[tuple[TtlRule, ...], Bound(most=100)] = ()
    bar: Bar = Bar(similarity=0.95)
    namespace_bars: Mapping[str, Bar] = field(default_factory=dict)
    scope_bars: Mapping[str, Bar] = field(default_factory=dict)  # the narrowest holds
    semantic: bool = True
    match_code: bool = False  # by similarity too; else code, formulas and layout match exactly
    volatility: VolatilityCaps = VolatilityCaps()
    shadow: bool = False  # decide and compare, and always ask Claude
    # An entry serves other actors by similarity only once a second actor's answer agreed.
    corroborate: bool = False
    actors: Literal["named", "key"] = "named"  # by the caller, or each key is one
    routing_epoch: Annotated[int, Bound(0, 2**31 - 1)] = (
        0  # part of every fingerprint of this tenant
    )
    routing: RoutingRules = field(default_factory=RoutingRules)
    caching: CachingRules = field(default_factory=CachingRules)
    batching: BatchRules = field(default_factory=BatchRules)
    lengths: LengthRules = field(default_factory=LengthRules)
    history: HistoryRules = field(default_factory=HistoryRules)
    declared: DeclaredRules = field(default_factory=DeclaredRules)
    budgets: BudgetRules = field(default_factory=BudgetRules)
    limits: Limits = field(default_factory=Limits)
    verify: VerificationRules = field(default_factory=VerificationRules)
    # Each key reads the texts of all; else of the requests it made itself, and of no stored answer.
    keys_read_content: bool = False
    # Reports say what the same requests would have cost at this model; None: at Opus and Sonnet.
    compare_with: Model | None = None
    no_content: bool = False  # text is kept sealed, shown nowhere; its digests are keyed
    # Of those digests, in memory only; None: no content is kept back, or it is not at hand.
    digest_key: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def configured_name(self) -> str:
        """Return the name that the operator gave.

        A caller with an Anthropic key of their own is a tenant inside of it, `NAME@PSEUDONYM`.
        """
        return self.name.partition("@")[0]


# Reasons of misses for which nothing could be looked up by similarity: there may be an answer.
UNLOOKED = ("degraded", "warming", "embedder", "no-model")


@dataclass(frozen=True, slots=True)
class Near:
    """The result of a semantic look-up: live candidates, best first, or why there was none."""

    candidates: Sequence[Candidate] = ()
    skipped: str | None = None  # "warming", "window", "degraded", ...
    vector: Any = None  # the question's embedding, to be stored with its answer
    exact: Entry | None = None  # under the question's own fingerprint, if it was asked for, too
    beside: Mapping[str, Sequence[bytes | None]] = field(default_factory=dict)  # by entry id
