"""The labels that a scope takes in: no caller floods it, and no step is one caller's. Pure.

A step (`calibrate.STEP`) is due by labels, so whoever sends them would bring it about and be what
it is fitted to. Beside others a key therefore holds at most half of a step, or its share of the
last fit where that is more: who comes new never gets beyond half, and a scope that one key fills
goes on at its pace. So it is with an end user beside others of the same key, who hold what the key
may. What is more is refused: it counts for nothing and pushes nobody's labels out. End users only
divide what their key holds, for whoever has a key may name as many as they like.
"""

from __future__ import annotations

from cacheserver.core import actors
from cacheserver.matching.calibration import LEAST, Calibration, Label

CELL = 40  # labels; of BANKING77's 2,000, spread over 77 answers, hardly any cell has as many
# Others count for a week after their labels, so that a quiet weekend hands a scope to nobody, and
# callers who have gone do not hold up whoever is left.
HEARD_S = 7 * 86_400


def wanted(state: Calibration, label: Label) -> bool:
    """Return True if a label adds to what is known; no key, answer or kind of question floods it.

    Nobody's goes beyond their part of the step. Within it what a person decided and a wrong hit
    are always learned; of the rest at most `CELL` are of one key, answer and tenth of cosine, hits
    and misses apart.
    """
    if _holds_its_part(state, label):
        return False
    if label.source == "admin" or (label.served and not label.right):
        return True
    return sum(_alike(one, label) for one in state.labels) < CELL


def _holds_its_part(state: Calibration, label: Label) -> bool:
    """Whether the label's key, or its end user, has all the labels of the step that it may have."""
    key = actors.key_of(label.caller)
    fresh = state.labels[len(state.labels) - state.fresh :]
    of_key = sum(actors.key_of(one.caller) == key for one in fresh)
    of_caller = sum(one.caller == label.caller for one in fresh)
    step = state.step
    if of_key < _half(step) and of_caller < _half(_half(step)):
        return False  # whoever else is there: most end here, and need no look at 3,000 labels
    heard = [one for one in state.labels if label.at - one.at <= HEARD_S]
    others = sum(actors.key_of(one.caller) != key for one in heard)
    known = [one for one in state.fitted if actors.key_of(one.caller) == key]
    part = step if others < LEAST else _part(step, len(known), len(state.fitted))
    if of_key >= part:
        return True
    if sum(one.caller != label.caller for one in heard) - others < LEAST:
        return False
    theirs = sum(one.caller == label.caller for one in known)
    return of_caller >= _part(part, theirs, len(known))


def _part(whole: int, theirs: int, known: int) -> int:
    """The labels of `whole` for someone who has `theirs` of those `known`."""
    return max(_half(whole), int(whole * theirs / max(1, known)))


def _half(part: int) -> int:
    return -(-part // 2)  # rounded up: two of them fill the whole


def _alike(one: Label, other: Label) -> bool:
    return (
        one.evidence.group == other.evidence.group
        and one.served == other.served
        and int(one.evidence.cosine * 10) == int(other.evidence.cosine * 10)
        and actors.key_of(one.caller) == actors.key_of(other.caller)
    )
