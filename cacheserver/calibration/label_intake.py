"""Admission of labels to a scope: no caller floods it, and no step belongs to one caller. Pure.

A step (`calibration.STEP`) is due after a number of labels, so a caller who sends many would both
trigger it and be what it is fitted to. So, if a scope has other callers, a key has at most half of
a step's labels, or its share of the last fit if that is more: a new key never exceeds half, and a
scope that one key fills goes on at its pace. The same holds for an end user among others of one
key. Labels beyond that are refused: they count for nothing and push no others out. End users only
divide their key's part, because a key may name any number of them.
"""

from __future__ import annotations

from cacheserver.core import actors
from cacheserver.matching.calibration import LEAST, Calibration, Label

CELL = 40  # labels; hardly any cell of BANKING77's 2,000 labels over 77 answers has as many
# A source counts for a week after its last label, so that no caller gets the scope over a quiet
# weekend, and callers who have left do not limit the others.
HEARD_S = 7 * 86_400


def wanted(state: Calibration, label: Label) -> bool:
    """Return True if a label adds information; no key, answer or kind of question floods the scope.

    No source exceeds its part of the step. Within it, labels from people and wrong hits are always
    admitted; of the others at most `CELL` per key, answer and tenth of cosine, hits and misses
    apart.
    """
    if _holds_its_part(state, label):
        return False
    if label.source == "admin" or (label.served and not label.right):
        return True
    return sum(_alike(one, label) for one in state.labels) < CELL


def _holds_its_part(state: Calibration, label: Label) -> bool:
    """Return whether the label's key, or its end user, has reached its part of the step."""
    key = actors.key_of(label.caller)
    fresh = state.labels[len(state.labels) - state.fresh :]
    of_key = sum(actors.key_of(one.caller) == key for one in fresh)
    of_caller = sum(one.caller == label.caller for one in fresh)
    step = state.step
    if of_key < _half(step) and of_caller < _half(_half(step)):
        return False  # most calls end here, without a scan of 3,000 labels
    heard = [one for one in state.labels if label.at - one.at <= HEARD_S]
    others = sum(actors.key_of(one.caller) != key for one in heard)
    fitted = [one for one in state.fitted if actors.key_of(one.caller) == key]
    part = step if others < LEAST else _part(step, len(fitted), len(state.fitted))
    if of_key >= part:
        return True
    if sum(one.caller != label.caller for one in heard) - others < LEAST:
        return False
    theirs = sum(one.caller == label.caller for one in fitted)
    return of_caller >= _part(part, theirs, len(fitted))


def _part(whole: int, theirs: int, every: int) -> int:
    """Return the labels of `whole` for a source that has `theirs` of `every` fitted labels."""
    return max(_half(whole), int(whole * theirs / max(1, every)))


def _half(part: int) -> int:
    return -(-part // 2)  # rounded up: two of them fill the whole


def _alike(one: Label, other: Label) -> bool:
    return (
        one.evidence.group == other.evidence.group
        and one.served == other.served
        and int(one.evidence.cosine * 10) == int(other.evidence.cosine * 10)
        and actors.key_of(one.caller) == actors.key_of(other.caller)
    )
