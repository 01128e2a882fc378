"""Rules for choosing the model of a request with `model: auto`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

from cacheserver.core.rules.bounds import STRICT, Bound
from cacheserver.core.rules.trials import TrialRules
from cacheserver.core.rules.validation import Check, ValidationRules

Tier: TypeAlias = Literal["low", "middle", "high"]

Model = Annotated[str, Bound(pattern=r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")]
TaskName = Annotated[str, Bound(pattern=r"[A-Za-z0-9._-]{1,64}")]
Share = Annotated[float, Bound(least=0, most=1)]


CHEAPEST_MODEL: Final = "claude-haiku-5-5"  # also the default model, and that of the judge


@dataclass(frozen=True, slots=True)
class Tiers:
    """The model behind each tier. A new model is a setting, not a release."""

    __pydantic_config__ = STRICT

    low: Model = CHEAPEST_MODEL  # a twentieth of the middle tier's price
    middle: Model = "claude-sonnet-5-5"
    high: Model = "claude-opus-5-5"  # twice the middle one's


@dataclass(frozen=True, slots=True)
class TaskRule:
    """The tier or model of one task."""

    __pydantic_config__ = STRICT

    tier: Tier
    # Trials must have shown this tier's answers to agree at least so often with the next tier's, as
    # their interval's lower end, before this one is used; till then the next is. None: no trial is
    # asked for.
    min_agreement: Share | None = None
    check: Check | None = None  # what an answer to such work must be like


@dataclass(frozen=True, slots=True)
class Override:
    """A named model that is answered by another: by a model, or by a tier."""

    __pydantic_config__ = STRICT

    model: Model  # as the caller names it, to the letter
    to_model: Model | None = None  # this or `to_tier`
    to_tier: Tier | None = None
    task: TaskName | None = None  # for such work only; None: for all


@dataclass(frozen=True, slots=True)
class Levels:
    """The tier for each level of difficulty the classifier knows."""

    __pydantic_config__ = STRICT

    simple: Tier = "low"
    medium: Tier = "middle"
    # Not high: the most expensive model is for who asks for it (`requires_deep_analysis`) or for
    # the operator who writes "high" here. A guess of ours does not double a bill.
    complex: Tier = "middle"


@dataclass(frozen=True, slots=True)
class Haiku:
    """Asking a cheap model how hard a request is."""

    __pydantic_config__ = STRICT

    # It costs a call and its time, so it is off; "unsure" asks where our own classifier is.
    ask: Literal["never", "unsure", "always"] = "never"
    model: Model | None = None  # None: the low tier's
    # Of the request's text, from its beginning and its end: 4,000 are 1,600 tokens, $0.00016.
    max_chars: Annotated[int, Bound(least=200, most=50_000)] = 4_000
    # One word takes Haiku under a second; who waits longer would rather have the middle tier.
    timeout_ms: Annotated[int, Bound(least=50, most=30_000)] = 1_500


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """Rules of model routing. Off: a named model is asked as named, `auto` is the server's own."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    tiers: Tiers = field(default_factory=Tiers)
    # For what no rule and no classifier decides: neither the cheapest nor the dearest.
    default_tier: Tier = "middle"
    # Over the tiers that `core.tiers` gives to the tasks it knows; a task added here is known.
    tasks: dict[TaskName, TaskRule] = field(default_factory=dict)
    infer_tasks: bool = True  # where the caller names none
    # A task nobody knows is a label like any other, unless a tenant wants misspellings refused.
    strict_tasks: bool = False
    overrides: Annotated[tuple[Override, ...], Bound(most=100)] = ()
    # Models that may be named in rules though neither we nor Claude's list know them.
    more_models: Annotated[tuple[Model, ...], Bound(most=100)] = ()

    classifier: bool = True
    levels: Levels = field(default_factory=Levels)
    # The low tier is for what is SIMPLE with at least this probability, and COMPLEX with at most
    # that one; what is neither clearly SIMPLE nor clearly COMPLEX is the middle tier's.
    # `scripts/train_router --score` prints what these do (docs/routing.md).
    simple_from: Share = 0.5
    simple_complex_most: Share = 0.07
    # The same where there is no embedding, only words, which tell hard from easy less well.
    words_complex_most: Share = 0.025
    complex_from: Share = 0.5
    haiku: Haiku = field(default_factory=Haiku)

    # Longer than Claude keeps a prompt cache (5 minutes or an hour) there is nothing to lose.
    sticky_s: Annotated[int, Bound(least=0, most=86_400)] = 3_600

    trials: TrialRules = field(default_factory=TrialRules)
    validation: ValidationRules = field(default_factory=ValidationRules)
