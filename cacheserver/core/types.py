"""The nouns. Frozen values with no behaviour beyond their own arithmetic; words as in the glossary.

Times are Unix seconds (`float`), durations whole seconds (`_s`), money whole nanodollars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.rules.budgets import BudgetRules
from cacheserver.core.rules.caching import CachingRules
from cacheserver.core.rules.history import HistoryRules
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.limits import Limits
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.rules.validation import Check

if TYPE_CHECKING:  # a name for readers; importing it would turn the layers around
    from cacheserver.matching.neighbours import Evidence
    from cacheserver.promptcache.planner import Draft

Nanodollars: TypeAlias = int  # 1e-9 USD; parts always sum to the whole

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

HitKind: TypeAlias = Literal["exact", "semantic", "coalesced", "stale"]

# What a miss is made cheaper by; each can be switched off, by a tenant and for one request.
LEVERS = ("routing", "prompt-caching", "batching", "output-cap", "history")


@dataclass(frozen=True, slots=True)
class Controls:
    """What a caller asks of the cache for one request; it only tightens what the operator set."""

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


@dataclass(frozen=True, slots=True)
class Query:
    """One request, read once."""

    body: Mapping[str, Any]  # the caller's JSON, opaque beyond the fields we act on
    raw: bytes  # what goes upstream, as it came
    headers: Mapping[str, str]  # the caller's headers that go upstream, lower-case names
    tenant: Tenant
    controls: Controls
    fingerprint: str  # hex SHA-256
    scope: str  # hex SHA-256
    text: str | None  # the last user text; None where it must not be matched by similarity
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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind, as Claude reported them. `input_tokens` is the uncached remainder only."""

    input_tokens: int = 0
    output_tokens: int = 0  # thinking included
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    web_searches: int = 0
    service_tier: str = "standard"
    speed: str = "standard"
    inference_geo: str = ""
    iterations: tuple[tuple[str, Usage], ...] = ()  # (model, usage) of each; then they are the bill

    @property
    def billed(self) -> Usage:
        """The tokens that are on the bill: with iterations their sum, for the counts beside them
        leave some of them out (facts 1.3).
        """
        if not self.iterations:
            return self
        legs = [leg for _, leg in self.iterations]
        return replace(
            self,
            input_tokens=sum(leg.input_tokens for leg in legs),
            output_tokens=sum(leg.output_tokens for leg in legs),
            cache_write_5m_tokens=sum(leg.cache_write_5m_tokens for leg in legs),
            cache_write_1h_tokens=sum(leg.cache_write_1h_tokens for leg in legs),
            cache_read_tokens=sum(leg.cache_read_tokens for leg in legs),
            iterations=(),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer. Immutable: a newer answer is another entry with another id."""

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
    made_up: bool = False  # by the simulated Claude: says nothing about the question
    conversation: str | None = None  # it was asked in, as a digest; None: in none


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
    """What a candidate must clear: a threshold set by hand, or an error target; neither: no hit."""

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
class Route:
    """The model that is asked, and why."""

    model: str
    reason: str  # "named", "default", "task", "complexity", "unsure", "sticky", "capability", ...
    tier: str | None = None  # "low", "middle", "high"; None: no tier of ours was asked for
    baseline: str | None = None  # the model asked had we not routed; None: the same
    task: str | None = None  # the type of work, given or inferred
    confidence: float | None = None  # of the classifier, 0..1; None: it was not asked
    spent: Nanodollars = 0  # on asking another model which one it should be


@dataclass(frozen=True, slots=True)
class Mark:
    """A `cache_control` of ours, on the block or tool at `path` in the body."""

    path: tuple[str | int, ...]  # ("tools", 3), ("system", 0), ("messages", 4, "content", 1)
    ttl: Literal["5m", "1h"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where Claude's prompt cache is asked to write and read, and what that should bring."""

    marks: tuple[Mark, ...]  # in the order of the prompt, at most 4
    reason: str
    expected: Nanodollars = 0  # gain over no marks; negative: a premium paid ahead
    prefix: str | None = None  # hash of the longest prefix marked
    draft: Draft | None = None  # what it was made of, for its outcome to be booked
    salt: Nanodollars = 0  # what the tenant's salt adds to the call, at the plain price


@dataclass(frozen=True, slots=True)
class Cap:
    """The `max_tokens` that goes upstream, and whose it is."""

    max_tokens: int
    reason: str  # "asked", "default", "learned", "tenant"
    asked: int | None = None  # what the caller wrote
    ours: bool = False  # an answer cut here was cut by us: it is not stored
    longer: int | None = None  # tokens that an answer cut here would have had; None: not known


@dataclass(frozen=True, slots=True)
class Trim:
    """What was left out of a long conversation."""

    reason: str  # "window", "summary"
    turns: int  # messages left out
    tokens: int  # input tokens that saves, estimated
    cost: Nanodollars = 0  # what writing the summary cost


@dataclass(frozen=True, slots=True)
class Tried:
    """An answer that would not do, and was paid for all the same."""

    model: str
    why: str  # "refused", "truncated", "schema", ...
    usage: Usage
    cost: Nanodollars | None  # None: unpriced


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """How Claude is asked on a miss: the body that goes upstream, and what each lever did."""

    body: bytes
    route: Route
    plan: Plan | None = None
    cap: Cap | None = None
    trim: Trim | None = None
    tried: Tried | None = None  # asked before, of the tier below


@dataclass(frozen=True, slots=True)
class TtlRule:
    """A default and a maximum for what matches every field that is set."""

    namespace: str | None = None
    task: str | None = None
    tag: str | None = None
    default_ttl_s: int | None = None
    max_ttl_s: int | None = None


@dataclass(frozen=True, slots=True)
class VolatilityCaps:
    """The longest a volatile answer may live, in seconds. 0: not shared; None: no cap."""

    time_s: int | None = 300  # weather and rates move within minutes; a burst of askers still hits
    drift_s: int | None = 86_400  # a new president or record is rarely older news than a day
    place_s: int | None = 0  # one asker's "near me" is not another's
    personal_s: int | None = 0  # an operator who keeps one namespace a customer may raise it


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks, and what the operator set for them."""

    name: str
    default_ttl_s: int = DEFAULT_TTL_S
    max_ttl_s: int = MAX_TTL_S
    stale_s: int = 0
    ttl_rules: tuple[TtlRule, ...] = ()
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
    routing_epoch: int = 0  # part of every fingerprint of this tenant
    routing: RoutingRules = field(default_factory=RoutingRules)
    caching: CachingRules = field(default_factory=CachingRules)
    batching: BatchRules = field(default_factory=BatchRules)
    lengths: LengthRules = field(default_factory=LengthRules)
    history: HistoryRules = field(default_factory=HistoryRules)
    budgets: BudgetRules = field(default_factory=BudgetRules)
    limits: Limits = field(default_factory=Limits)
    no_content: bool = False  # text is kept sealed, shown nowhere; its digests are keyed
    # Of those digests, in memory only; None: no content is kept back, or it is not at hand.
    digest_key: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Near:
    """What a semantic look-up found: live candidates, best first, or why it was not made."""

    candidates: Sequence[Candidate] = ()
    skipped: str | None = None  # "warming", "window", "degraded", ...
    vector: Any = None  # the question's embedding, to be stored with its answer
