"""The evidence of one candidate: what a decision is made of, stored with its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for one candidate. A higher number favours serving it, except for `second`.

    `as_json` has the names of stored labels and of explanations.
    """

    cosine: float
    margin: float  # cosine minus that of the nearest neighbour with a different answer
    share: float  # of the nearest five, those that have its answer, 0..1
    pull: float  # the same share of all neighbours, weighted by nearness
    second: float  # cosine of the nearest other neighbour
    prior: float  # log-odds by cosine and words
    company: int = 0  # number of neighbours; below five only `prior` and `twin` count
    twin: bool = False  # the same canonical form
    group: str = ""  # answer group of the candidate
    entry: str = ""  # id of the candidate
    recorded_probability: float | None = None  # probability at the time of the decision
    crowd: float = 0.0  # mean cosine of the nearest five neighbours
    coverage: float | None = None  # `vocabulary.coverage`; None in labels of older versions


_STORED: Final = {"recorded_probability": "told"}  # by attribute, where the stored name differs
_ATTRIBUTES: Final = {_STORED.get(one.name, one.name): one.name for one in fields(Evidence)}
_VALUES: Final = attrgetter(*_ATTRIBUTES.values())


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Encode evidence for storage and explanations; `read_evidence` decodes it."""
    return {_STORED.get(name, name): value for name, value in asdict(evidence).items()}


def values(evidence: Evidence) -> tuple[Any, ...]:
    """Return evidence as values by position; `of_values` names them as `as_json` does."""
    return _VALUES(evidence)


def of_values(stored: Sequence[Any]) -> dict[str, Any]:
    """Name evidence that was stored by position: a new field goes at the end of `Evidence`."""
    return dict(zip(_ATTRIBUTES, stored, strict=False))


def read_evidence(row: Mapping[str, Any]) -> Evidence:
    """Decode stored evidence. Fields that this version does not have are ignored.

    Raises `TypeError` if a field is missing or `row` is not a mapping.
    """
    if not isinstance(row, Mapping):
        raise TypeError("stored evidence must be an object")
    return Evidence(
        **{_ATTRIBUTES[name]: value for name, value in row.items() if name in _ATTRIBUTES}
    )
