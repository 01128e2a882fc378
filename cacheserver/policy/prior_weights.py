"""The weights of `prior`, written by `scripts/fit_prior`. Do not edit by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "bias": -8.7809,
        "unlike_words": 2.1745,
        "unlike_letters": 0.1698,
        "uncontained": 0.6989,
        "rarest": -1.7626,
        "second_rarest": 0.5243,
        "missing": 0.0946,
        "both_miss": -0.4558,
        "numbers_both": -0.702,
        "numbers_one": -0.4081,
        "units": 0.0,
        "times_both": -6.1617,
        "times_one": 0.0,
        "turned": -0.1421,
        "flipped": -0.7057,
        "names_both": -0.6526,
        "names_one": -0.472,
        "moved": -2.407,
        "spans": 0.0,
        "asks": -0.0944,
        "lengths": 0.9037,
        "same_words": -0.3677,
        "short": 0.0719,
        "vetoes": -3.5804,
        "numeric": 0.0,
        "substitution": 0.0,
        "entity": -0.773,
        "narrowing": -0.6057,
        "polar": -2.2287,
        "cosine": 10.4607,
        "cosine_80": 0.4679,
        "cosine_92": 1.036,
    }
)
