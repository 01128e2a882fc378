"""Explanations of decisions, stored for a day: complete for admins; for callers without the
questions of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cacheserver.cache.answer import kind_of
from cacheserver.cache.freshness import EXPLAINED
from cacheserver.core import evidence
from cacheserver.core.keyed_digests import OTHER_KEY
from cacheserver.core.money import usd
from cacheserver.core.types import (
    Bar,
    Bypass,
    Candidate,
    Cap,
    Decision,
    Hit,
    Miss,
    Plan,
    PlannedCall,
    Route,
    Trim,
    Usage,
)
from cacheserver.matching.verification_outcome import Verified

_DIGESTS = ("caller", "actor", "conversation")
_TEXTS = ("asked", "system", "fingerprint")  # and a digest of the text, which could be guessed


def explain(decision: Decision, bar: Bar | None, now: float) -> dict[str, Any]:
    """Explain a decision for an admin: the entry served or nearest, and the candidates.

    It contains questions of others; `for_caller` removes them.
    """
    return shown(values(decision, bar, now), kind_of(decision), decision.reason)


def values(
    decision: Decision,
    bar: Bar | None,
    now: float,
    *,
    asked: str | None = None,
    questions: bool = True,
) -> tuple[Any, ...]:
    """Reduce a decision to values by position, of which `shown` makes the explanation.

    A stored question that equals `asked` is 0. Those served and nearest are among the candidates
    mostly, and then the place in them. `questions` False: without the text of any question.
    """
    near, candidate = _candidates(decision), _candidate(decision)
    level = None if bar is None else bar.similarity
    basis: str | int | None = _NO_BASIS
    if isinstance(decision, Hit | Miss) and decision.level is not None:
        level, basis = round(decision.level, 6), decision.basis  # what the target asks for here
    main: Any = None
    if candidate is not None:
        place = next((at for at, one in enumerate(near) if one is candidate), None)
        main = _values(candidate, now, asked, questions) if place is None else place
    listed = [_values(one, now, asked, questions) for one in near]
    return main, listed, level, None if bar is None else bar.target, basis


def shown(
    stored: Sequence[Any], kind: str, reason: str, *, asked: str | None = None
) -> dict[str, Any]:
    """Return the explanation that `values` were made of."""
    main, listed, level, target, basis = stored
    candidates = [_candidate_of(one, asked) for one in listed]
    explained: dict[str, Any] = {
        "kind": kind,
        "reason": reason,
        "why": reason,
        "similarity": None,
        "question": None,
        "age_s": None,
        "probability": None,
        "bar": level,
        "target": target,
    }
    if main is not None:
        chosen, pinned = (
            (candidates[main], listed[main][_PINNED])
            if isinstance(main, int)
            else (_candidate_of(main, asked), main[_PINNED])
        )
        explained |= {name: chosen[name] for name in ("similarity", "question", "age_s")}
        explained["candidate"] = chosen["entry"]
        explained |= {name: chosen[name] for name in ("veto", "supported", "corroborated")}
        explained["why"] = why(reason, chosen["veto"])
        explained["pinned"] = pinned
        if chosen["probability"] is not None and chosen["evidence"] is not None:
            explained["probability"] = chosen["probability"]
            explained["evidence"] = chosen["evidence"]
    if basis != _NO_BASIS:
        explained["basis"] = basis
    explained["candidates"] = candidates
    return explained


def why(reason: str, veto: str | None) -> str:
    """Return a decision's reason in short, with the veto if that decided.

    The nearest candidate may be vetoed while a likelier one decided: then its veto is not the why.
    """
    return f"{reason}: {veto}" if reason == "vetoed" and veto is not None else reason


def for_caller(
    shown: Mapping[str, Any], *, asked: str | None, others: bool = True
) -> dict[str, Any]:
    """Reduce an explanation to what its caller may see: of stored questions only the served one,
    and the evidence for that one or the nearest alone.

    `others` False: the served one too only where it is what the caller `asked`, since another key
    of the tenant may have written it.
    """
    served = None if shown["kind"] in ("miss", "bypass") else shown.get("candidate")
    question = None if served is None else shown["question"]
    if not others and question != asked:
        question = None
    return {
        **shown,
        "question": question,
        "candidates": [
            {
                **{name: one[name] for name in one if name != "evidence"},
                "question": question if one["entry"] == served else None,
            }
            for one in shown.get("candidates", ())
        ],
    }


def record_for_caller(
    record: Mapping[str, Any], *, texts: bool = True, others: bool = True
) -> dict[str, Any]:
    """Reduce a record to what its tenant may see: without digests that could be guessed.

    `texts` False: also without texts, for a key that did not make the request. `others` as in
    `for_caller`.
    """
    shown = {name: value for name, value in record.items() if name not in _DIGESTS}
    decision = for_caller(record["decision"], asked=record["asked"], others=others)
    if texts:
        return {**shown, "decision": decision}
    declared = record.get("declared")
    return {
        "withheld": OTHER_KEY,
        **shown,
        **dict.fromkeys(_TEXTS),
        "declared": None if declared is None else {**declared, "question": None},
        "decision": {
            **decision,
            "question": None,
            "candidates": [{**one, "question": None} for one in decision["candidates"]],
        },
    }


def verified(found: Verified) -> dict[str, Any]:
    """Verification as it is recorded."""
    return {
        "verdict": found.verdict,
        "model": found.model,
        "asked": found.asked,
        "posterior": None if found.posterior is None else round(found.posterior, 6),
        "cost_usd": usd(found.cost),
        "seconds": round(found.seconds, 6),
        "remembered": found.remembered,
    }


def shaped(asked: PlannedCall) -> dict[str, Any]:
    """The changes each lever made to a call, without the call itself."""
    return {
        "route": _flat(asked.route),
        "plan": None if asked.plan is None else _planned(asked.plan),
        "cap": None if asked.cap is None else _flat(asked.cap),
        "history": None if asked.trim is None else _flat(asked.trim),
        "tried": None if asked.tried is None else asdict(asked.tried),
    }


def _flat(value: Route | Cap | Trim) -> dict[str, Any]:
    """Return the fields of a value that holds no other; a tenth of the time of `asdict`."""
    return {name: getattr(value, name) for name in value.__slots__}


def tokens(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
    }


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "reason": plan.reason,
        "marks": len(plan.marks),
        "prefix": plan.prefix,
        "expected_usd": usd(plan.expected),
        "salt_usd": usd(plan.salt),
    }


def _candidate(decision: Decision) -> Candidate | None:
    match decision:
        case Hit(candidate=candidate):
            return candidate
        case Miss():
            return decision.nearest
        case Bypass():
            return None


def _candidates(decision: Decision) -> list[Candidate]:
    """The nearest candidates, by similarity; the served one is always among them."""
    if isinstance(decision, Bypass):
        return []
    nearest = list(decision.neighbours[:EXPLAINED])
    if isinstance(decision, Hit) and nearest and decision.candidate is not None:
        served = decision.candidate
        if all(one.entry.id != served.entry.id for one in nearest):
            nearest[EXPLAINED - 1 :] = [served]
    return nearest


def _values(
    candidate: Candidate, now: float, asked: str | None, questions: bool
) -> tuple[Any, ...]:
    entry, probability, found = candidate.entry, candidate.probability, candidate.evidence
    question: str | int | None = entry.text if questions else None
    return (
        entry.id,
        0 if question is not None and question == asked else question,
        round(candidate.similarity, 6),
        round(candidate.penalty, 6),
        None if probability is None else round(probability, 6),
        candidate.veto,
        candidate.supported,
        candidate.corroborated,
        max(0, int(now - entry.created_at)),
        None if found is None else evidence.values(found),
        candidate.pinned,
    )


def _candidate_of(stored: Sequence[Any], asked: str | None) -> dict[str, Any]:
    found = dict(zip(_LISTED, stored, strict=False))
    if found["question"] == 0:
        found["question"] = asked
    if found["evidence"] is not None:
        found["evidence"] = evidence.of_values(found["evidence"])
    return found


_LISTED = (
    *("entry", "question", "similarity", "penalty", "probability"),
    *("veto", "supported", "corroborated", "age_s", "evidence"),
)
_PINNED = len(_LISTED)
_NO_BASIS = 0  # a threshold decided
