"""Capabilities that an operator may switch off. All else is the kernel, or keeps the books."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from cacheserver.core.errors import SwitchedOff

T = TypeVar("T")

Feature: TypeAlias = Literal[
    "alerts",
    "analysis",
    "batches",
    "budgets",
    "calibration",
    "conversations",
    "erasure",
    "lint",
    "output-caps",
    "passthrough",
    "prompt-caching",
    "routing",
    "trials",
    "verification",
]
FEATURES: Final[tuple[Feature, ...]] = get_args(Feature)

# A trial compares the models that the router chooses from, by what calibration reads of answers.
_NEEDS: Final[Mapping[Feature, tuple[Feature, ...]]] = {"trials": ("calibration", "routing")}


def switched_off(chosen: Collection[Feature]) -> frozenset[Feature]:
    """Return what is off: the features chosen, and those that need one of them."""
    dependent = {name for name, needed in _NEEDS.items() if not set(needed).isdisjoint(chosen)}
    return frozenset(chosen) | dependent


def required(part: T | None, feature: Feature) -> T:
    """Return `part`. Raises `SwitchedOff` if it is None, because its feature is off."""
    if part is None:
        raise SwitchedOff(feature)
    return part
