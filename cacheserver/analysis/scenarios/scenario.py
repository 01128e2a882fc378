"""Scenario: a workload as data. Only what is stated here is simulated.

Fields have the names of the keys in a scenario file, and their bounds in their types; pydantic
checks them where a file is read (`load`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from cacheserver.analysis.replay.step import LEVERS
from cacheserver.core.rules.bounds import STRICT, Bound
from cacheserver.core.rules.routing import CHEAPEST_MODEL

Pattern: TypeAlias = Literal["steady", "poisson", "office", "nightly"]
TIERS: Final = ("low", "middle", "high")

Lever: TypeAlias = Literal["exact", "semantic", "routing", "prompt-caching", "batch"]
Text = Annotated[str, Bound(least=1)]
Share = Annotated[float, Bound(least=0, most=1)]
Cosine = Annotated[float, Bound(least=-1, most=1)]
Tokens = Annotated[float, Bound(least=1, most=1_000_000)]  # as many as any model reads


def _named(name: str) -> str:
    if ":" in name:
        raise ValueError("must not contain a colon")
    return name


def _models(value: Any) -> Any:
    return {value: 1.0} if isinstance(value, str) else value


def _listed(models: Mapping[str, float]) -> Mapping[str, float]:
    for model in models:
        if model not in TIERS and not model.startswith("claude-"):
            raise ValueError(f"must name {', '.join(TIERS)}, or ids of Claude models")
    return models


def _length(value: Any) -> Any:
    fixed = isinstance(value, int) and not isinstance(value, bool)
    return {"median": value, "p95": value} if fixed else value


def _above_median(p95: float, info: ValidationInfo) -> float:
    if p95 < info.data.get("median", p95):
        raise ValueError("must be at least `median`")
    return p95


def _rest(reworded: float, info: ValidationInfo) -> float:
    if info.data.get("exact", 0.0) + reworded > 1:
        raise ValueError("must be at most 1 together with `exact`")
    return reworded


def _templates(questions: tuple[str, ...]) -> tuple[str, ...]:
    if any(question.count("{}") != 1 for question in questions):
        raise ValueError("must contain one `{}` each, for what makes it one of its own")
    return questions


def _within_turns(repeats: Repeats, info: ValidationInfo) -> Repeats:
    if repeats.turns > info.data.get("turns", repeats.turns):
        raise ValueError("must repeat at most `turns` turns")
    return repeats


@dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption with its source: a public one, or the reason for the value."""

    __pydantic_config__ = STRICT

    what: Text
    value: Text
    source: Text


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens: lognormal by median and 95th percentile; the same of both is a fixed length."""

    __pydantic_config__ = STRICT

    median: Tokens
    p95: Annotated[Tokens, AfterValidator(_above_median)]


FlexibleLength = Annotated[Length, BeforeValidator(_length)]  # a whole number is a fixed length


@dataclass(frozen=True, slots=True)
class Shared:
    """A part of the prompt that many requests have in common."""

    __pydantic_config__ = STRICT

    tokens: Annotated[int, Bound(least=0, most=1_000_000)] = 0
    different: Annotated[int, Bound(least=1, most=10**9)] = 1  # how many different ones there are


@dataclass(frozen=True, slots=True)
class Repeats:
    """Shares of conversations that repeat a question. The rest, 1 - exact - reworded, are new."""

    __pydantic_config__ = STRICT

    exact: Share = 0.0  # share that asks one of the common questions as it stands
    reworded: Annotated[Share, AfterValidator(_rest)] = 0.0  # share that asks one in other words
    distinct: Annotated[int, Bound(least=1, most=1_000_000)] = 100  # common questions
    # How much more the first is asked than the others; 0: all alike.
    zipf: Annotated[float, Bound(least=0, most=10)] = 1.0
    # Of the conversation's turns, the first so many repeat.
    turns: Annotated[int, Bound(least=1, most=10**9)] = 1


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Pattern of the start times of conversations."""

    __pydantic_config__ = STRICT

    pattern: Pattern = "poisson"
    hour: Annotated[float, Bound(least=0, most=23.99)] = 2.0  # of a nightly burst, UTC
    # A nightly burst goes on for so long.
    spread_s: Annotated[float, Bound(least=1, most=86_400)] = 1_800.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request."""

    __pydantic_config__ = STRICT

    name: Annotated[Text, AfterValidator(_named)]
    share: Share  # of the conversations
    # Share by tier or by Claude's id: what is asked without us. One name alone has all.
    model: Annotated[dict[str, Share], BeforeValidator(_models), AfterValidator(_listed)]
    # Texts; `{}` is filled with what makes one of its own.
    questions: Annotated[tuple[Text, ...], Bound(least=1), AfterValidator(_templates)]
    output: FlexibleLength
    question: FlexibleLength
    system: Shared = Shared()
    tools: Shared = Shared()
    document: FlexibleLength | None = None  # sent before the question in the first turn
    turns: Annotated[int, Bound(least=1, most=1_000)] = 1  # of each conversation
    pause_s: Annotated[float, Bound(least=0, most=1e12)] = 30.0  # between turns, the mean
    repeats: Annotated[Repeats, AfterValidator(_within_turns)] = Repeats()
    arrivals: Arrivals = Arrivals()
    waits: bool = False  # nobody waits for the answer: it is not streamed, and may be batched


@dataclass(frozen=True, slots=True)
class Spread:
    """A normal distribution of cosines, cut off at -1 and 1."""

    __pydantic_config__ = STRICT

    mean: Cosine
    sd: Annotated[float, Bound(least=0, most=1)]


@dataclass(frozen=True, slots=True)
class Similarities:
    """Distributions of cosines, and the cosine from which a stored answer is served."""

    __pydantic_config__ = STRICT

    bar: Cosine = 0.95
    reworded: Spread = Spread(0.90, 0.05)  # two wordings of one question
    others: Spread = Spread(0.60, 0.10)  # a question and the nearest that asks something else


@dataclass(frozen=True, slots=True)
class StatedVerification:
    """Verification by stated error rates: an estimate, in no other figure."""

    __pydantic_config__ = STRICT

    sensitivity: Annotated[float, Bound(above=0, most=1)] = 0.9
    false_yes: Annotated[float, Bound(above=0, most=1)] = 0.1
    least: Cosine = 0.8  # a stored answer below it is not asked about
    # That such an answer serves, as the server puts it when it decides whether asking pays.
    probability: Annotated[float, Bound(above=0, most=1)] = 0.5
    model: Text = CHEAPEST_MODEL
    most_tokens: Annotated[int, Bound(least=200, most=200_000)] = 4_000  # of a call


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload."""

    __pydantic_config__ = STRICT

    name: Text
    about: Text
    seed: Annotated[int, Bound(least=0, most=10**9)]
    conversations: Annotated[int, Bound(least=1, most=10**9)]  # in all
    days: Annotated[float, Bound(least=0.01, most=3_660)]  # in which they come
    kinds: Annotated[tuple[Kind, ...], Bound(least=1)]
    start: date = date(2026, 11, 2)  # UTC
    assumptions: tuple[Assumption, ...] = ()
    lifetime_s: Annotated[int, Bound(least=0, most=2_592_000)] = 86_400  # of an answer
    levers: frozenset[Lever] = frozenset(LEVERS)
    similarities: Similarities = Similarities()
    verification: StatedVerification | None = None

    @property
    def starts_at(self) -> float:
        """Unix seconds."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp()
