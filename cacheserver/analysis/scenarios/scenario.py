"""Scenario: a workload as data. Only what is stated here is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from cacheserver.analysis.replay.step import LEVERS

Pattern: TypeAlias = Literal["steady", "poisson", "office", "nightly"]
PATTERNS: Final[tuple[Pattern, ...]] = ("steady", "poisson", "office", "nightly")
TIERS: Final = ("low", "middle", "high")


@dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption with its source: a requirement, or our own with the reason."""

    what: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens: lognormal by median and 95th percentile; the same of both is a fixed length."""

    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Shared:
    """A part of the prompt that many requests have in common."""

    tokens: int = 0
    different: int = 1  # how many different ones there are


@dataclass(frozen=True, slots=True)
class Repeats:
    """Shares of conversations that repeat a question. The rest, 1 - exact - reworded, are new."""

    exact: float = 0.0  # share that asks one of the common questions as it stands
    reworded: float = 0.0  # share that asks one of them in other words
    distinct: int = 100  # common questions
    zipf: float = 1.0  # how much more the first is asked than the others; 0: all alike
    turns: int = 1  # of the conversation's turns, the first so many repeat


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Pattern of the start times of conversations."""

    pattern: Pattern = "poisson"
    hour: float = 2.0  # of a nightly burst, UTC
    spread_s: float = 1_800.0  # a nightly burst goes on for so long


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request."""

    name: str
    share: float  # of the conversations
    models: Mapping[str, float]  # share by tier or by Claude's id: what is asked without us
    questions: tuple[str, ...]  # texts; `{}` is filled with what makes one of its own
    output: Length
    question: Length
    system: Shared = Shared()
    tools: Shared = Shared()
    document: Length | None = None  # sent before the question in the first turn
    turns: int = 1  # of each conversation
    pause_s: float = 30.0  # between turns, the mean
    repeats: Repeats = Repeats()
    arrivals: Arrivals = Arrivals()
    waits: bool = False  # nobody waits for the answer: it is not streamed, and may be batched


@dataclass(frozen=True, slots=True)
class Spread:
    """A normal distribution of cosines, cut off at -1 and 1."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Similarities:
    """Distributions of cosines, and the cosine from which a stored answer is served."""

    bar: float = 0.95
    reworded: Spread = Spread(0.90, 0.05)  # two wordings of one question
    others: Spread = Spread(0.60, 0.10)  # a question and the nearest that asks something else


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload."""

    name: str
    about: str
    seed: int
    conversations: int  # in all
    days: float  # in which they come
    start: float  # Unix seconds
    kinds: tuple[Kind, ...]
    assumptions: tuple[Assumption, ...] = ()
    lifetime_s: int = 86_400  # how long an answer is kept
    levers: frozenset[str] = field(default_factory=lambda: frozenset(LEVERS))
    similarities: Similarities = Similarities()
