"""How sure is sure enough: the lowest probability at which an error target is still kept.

Conformal risk control on a scope's window of labels: the share of wrong hits that a level would
have let through, as seen, with one wrong hit more for the next one that nobody has seen yet, must
stay within the target. A label that had one chance in twenty of being taken stands for twenty of
what would be served. Pure.

Seen are few hits (one in a hundred is audited), and a weighed count of them would swing with each
single one. So what is counted is wrong hits seen against wrong hits told by the scope's own
logistic, and with that ratio corrected is what it tells of all that the level would serve. Labels
count once each in the ratio: which of them were taken depends on what was told, and on no more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nextafter, sqrt
from typing import Literal, TypeAlias

from cacheserver.core import actors
from cacheserver.matching.calibration import LEAST, Calibration, Label, left_out
from cacheserver.matching.support import Support, learned, narrower

Basis: TypeAlias = Literal["prior", "labels", "closed"]

CLOSED = 2.0  # a level that no probability reaches
FLOOR = 0.01  # least share of hits that is audited
CEILING = 0.3  # and most, while nothing is known
# Where no bar is shown to keep the target, every single hit must keep it by itself: a quarter of
# it by the prior, whose held-out reliability is no better than that; all of it by a fitted scope,
# and then it must be surer than all labels too.
CAUTION = 0.25
# Wrong hits added to those seen: the next one, at its worst. On BANKING77, decided
# over a fixed store, 2 served 45 instead of 52% at 0.87 instead of 0.93% wrong; a weighed count in
# place of the ratio missed the target: 54% at 1.34%.
UNSEEN = 1.0
_STEPS = 60  # levels tried
_FIRST = 20  # labels; fewer show nothing
_BROAD = 0.25  # of a scope's answers; are more of them shut, all are
_RECENT = 300  # labels of each key that the drift monitor looks at
# Shares of the labels: whoever has fewer hardly moves a level; who has more is its traffic.
_LARGE, _MOST = 0.1, 0.6
_ALARM = 2.33  # one-sided 99%


@dataclass(frozen=True, slots=True)
class Bar:
    """What a candidate's probability must reach, inclusive."""

    target: float  # greatest wrong share among semantic hits, 0..0.5
    level: float  # of all hits together, and never below `floor`
    basis: Basis
    risk: float  # wrong share expected at this level, the unseen one counted; 1 where none is shown
    upper: float  # of the wrong share among labels, by Wilson's interval of 95%; 1 where none is
    labels: int  # that show it
    audits: int  # labels of hits among all
    support: Support = field(default_factory=Support)
    shut: frozenset[str] = frozenset()  # answer groups whose own hits broke the target

    @property
    def floor(self) -> float:
        """The probability that any single hit must have, however well the others do."""
        return floor_of(self.target)


# Nothing reaches it: for whoever wants the evidence of each candidate and no verdict.
UNREACHED = Bar(0.01, CLOSED, "closed", 1.0, 1.0, 0, 0)


@dataclass(frozen=True, slots=True)
class Point:
    """What one level would have done on the window."""

    level: float
    served: float  # share of the look-ups with a candidate
    risk: float  # wrong share expected, the unseen one counted: held against the target
    upper: float  # 95% bound on the wrong share of what labels stand for, without the logistic
    labels: int


def bar_for(state: Calibration, target: float) -> Bar:
    """The bar at which the most is served with `target` kept. Raises nothing.

    Level and support are those of the last fit's labels; what is shut is told by the newest.
    """
    audits = sum(label.served for label in state.fitted)
    count, floor = len(state.fitted), floor_of(target)
    if state.young:
        return Bar(target, 1 - CAUTION * target, "prior", 1.0, 1.0, count, audits)
    shut = shut_groups(state.labels, target)
    known = {label.evidence.group for label in state.fitted if label.right}
    if _widely_shut(shut, state.labels, _BROAD * len(known)):
        return Bar(target, CLOSED, "closed", 1.0, 1.0, count, audits)
    told = list(zip(left_out(state), state.drawn, strict=True))
    support = _supported(told, floor)
    told = [pair for pair in told if support.holds(pair[1].evidence)]
    shown = _strictest(told, target)
    if shown is None:  # not even the surest labels keep it: above these then
        points = curve(told)
        surest = nextafter(points[0].level, 2.0) if points else 0.0
        level = max(1 - target, surest)
        return Bar(target, level, "prior", 1.0, 1.0, count, audits, support, shut)
    return Bar(
        target,
        max(floor, shown.level),
        "labels",
        shown.risk,
        shown.upper,
        shown.labels,
        audits,
        support,
        shut,
    )


def reshut(bar: Bar, state: Calibration) -> Bar:
    """The bar with the answer groups that the newest labels shut, or no longer do.

    Level and support stay those of the last fit, and a scope as a whole closes and opens with
    these: looked at with each label, it would be closed by chance sooner or later.
    """
    if state.young or bar.basis == "closed":
        return bar
    return replace(bar, shut=shut_groups(state.labels, bar.target))


def _supported(told: Sequence[tuple[float, Label]], floor: float) -> Support:
    """The support that is left without any one key's labels, and without any one end user's."""
    by_key, by_caller = (
        learned([(one.evidence, p, of(one)) for p, one in told if one.right], floor)
        for of in (_key, _caller)
    )
    # Where no end users are named both are one, and a hit would ask it twice.
    return by_key if by_key == by_caller else narrower(by_key, by_caller)


def _strictest(told: Sequence[tuple[float, Label]], target: float) -> Point | None:
    """The point with the lowest level that keeps `target` by all labels, and without any one's.

    None if one of these shows no level.
    """
    found: list[Point] = []
    for rest in (told, *_rests(told)):
        points = curve(rest, unseen=UNSEEN * len(rest) / len(told) if told else UNSEEN)
        shown = next((point for point in reversed(points) if point.risk <= target), None)
        if shown is None:
            return None
        found.append(shown)
    return max(found, key=lambda point: point.level)


def _rests(told: Sequence[tuple[float, Label]]) -> Iterator[Sequence[tuple[float, Label]]]:
    """The labels without those of each key, and of each end user, who has many of them."""
    keys = Counter(_key(label) for _, label in told)
    callers = Counter(label.caller for _, label in told)
    for key, count in keys.items():
        if _tells(count, len(told)):
            yield [pair for pair in told if _key(pair[1]) != key]
    for caller, count in callers.items():
        if _tells(count, len(told)) and count < keys[actors.key_of(caller)]:
            yield [pair for pair in told if pair[1].caller != caller]


def _tells(count: int, every: int) -> bool:
    """Return whether that many labels move a level, and the rest shows one."""
    return _LARGE * every <= count <= _MOST * every and every - count >= LEAST


def _key(label: Label) -> str:
    return actors.key_of(label.caller)


def _caller(label: Label) -> str:
    return label.caller


def floor_of(target: float) -> float:
    """The least probability of a single hit: 0.9 for a target of 1%, 0.5 from 5% on.

    A target is an average. With an easy stream it lets through whatever comes: 345 easy hits paid
    for 19 questions about something else, at probabilities of 0.05 to 0.5. On the hard streams of
    docs/quality.md levels end above it by themselves.
    """
    return max(0.5, 1 - 10 * target)


def curve(told: Sequence[tuple[float, Label]], *, unseen: float = UNSEEN) -> tuple[Point, ...]:
    """Levels over labels and what they were told, from the strictest down."""
    told_of = sorted(told, key=lambda pair: -pair[0])
    whole = sum(label.weight for _, label in told_of)
    every = max(1, len(told_of) // _STEPS)
    sums = _Sums()
    points: list[Point] = []
    for at, (p, label) in enumerate(told_of, 1):
        sums.add(p, label)
        tied = at < len(told_of) and told_of[at][0] == p  # a level takes all of its own
        if at >= _FIRST and sums.since >= every and not tied:
            sums.since = 0
            points.append(Point(p, sums.total / whole, sums.risk(unseen), sums.upper(), at))
    return tuple(points)


@dataclass(slots=True)
class _Sums:
    """Of the labels at or above a level."""

    total: float = 0.0  # of what they stand for
    squares: float = 0.0
    told: float = 0.0  # wrong among these, by the logistic
    wrong: float = 0.0  # and by the labels
    expected: float = 0.0  # wrong labels, by the logistic
    seen: int = 0  # wrong labels
    since: int = 0  # labels since the last point

    def add(self, told: float, label: Label) -> None:
        self.total += label.weight
        self.squares += label.weight**2
        self.told += label.weight * (1 - told)
        self.expected += 1 - told
        if not label.right:
            self.wrong += label.weight
            self.seen += 1
        self.since += 1

    def risk(self, unseen: float) -> float:
        ratio = (self.seen + unseen) / self.expected
        return min(1.0, ratio * self.told / self.total)

    def upper(self) -> float:
        effective = self.total**2 / self.squares  # heavy labels tell of many, know of one
        return wilson(self.wrong / self.total * effective, effective)[1]


def shut_groups(labels: Sequence[Label], target: float) -> frozenset[str]:
    """The answer groups to keep back, by the newest labels of each key.

    Those whose own hits were wrong more often than `target` beyond chance; and where that holds of
    all hits of one key together, every group in which it had a wrong one. An answer that goes wrong
    shuts itself: who makes it so closes the scope to nobody else. Nor do labels of one key make
    those of another old.
    """
    groups = defaultdict[str, list[Label]](list)
    keys = defaultdict[str, list[Label]](list)
    for label in _recent(labels):
        keys[_key(label)].append(label)
        if label.served:
            groups[label.evidence.group].append(label)
    shut = {group for group, own in groups.items() if broken(own, target)}
    for own in keys.values():
        if broken([label for label in own if label.source != "feedback"], target):
            shut |= {one.evidence.group for one in own if one.served and not one.right}
    return frozenset(shut)


def _recent(labels: Sequence[Label]) -> list[Label]:
    """The newest labels of each key, oldest first."""
    found: list[Label] = []
    counts = Counter[str]()
    for label in reversed(labels):
        counts[_key(label)] += 1
        if counts[_key(label)] <= _RECENT:
            found.append(label)
    return found[::-1]


def _widely_shut(shut: frozenset[str], labels: Sequence[Label], most: float) -> bool:
    """Return whether more groups than `most` are shut, and would be without any one key."""
    if len(shut) <= most:
        return False
    by = defaultdict[str, set[str]](set)  # the keys whose hits were wrong in each of them
    for label in _recent(labels):
        if label.served and not label.right and label.evidence.group in shut:
            by[label.evidence.group].add(_key(label))
    alone = Counter(next(iter(keys)) for keys in by.values() if len(keys) == 1)
    for key, count in alone.items():
        others = sum(_key(label) != key for label in labels)
        if others >= LEAST and len(shut) - count <= most:
            return False
    return True


def broken(labels: Sequence[Label], target: float) -> bool:
    """Whether recent hits were wrong more often than `target` beyond chance.

    A closed scope only misses, and a miss is a label: the hits leave the recent labels and the
    scope opens again, with a bar made of what was learned.
    """
    served = [label for label in labels[-_RECENT:] if label.served]
    if not served:
        return False
    total = sum(label.weight for label in served)
    effective = total * total / sum(label.weight**2 for label in served)
    wrong = [label for label in served if not label.right]
    if len(wrong) < 2:  # one may be chance, whatever it stands for
        return False
    share = sum(label.weight for label in wrong) / total
    return wilson(share * effective, effective, _ALARM)[0] > target


def audit_share(bar: Bar, probability: float) -> float:
    """Chance with which a hit of this probability is asked again, in the background.

    From `CEILING` down to `FLOOR` as the window fills with as many audits as the target needs
    (one in 1 / target). Hits just over the bar are audited most: that is where errors are.
    """
    needed = 1 / bar.target
    share = max(FLOOR, CEILING * max(0.0, 1 - bar.audits / needed))
    if bar.level < 1:
        share *= sqrt(min(1.0, (1 - probability) / (1 - bar.level)))
    return max(FLOOR, share)


def wilson(wrong: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share; (0, 1) where nothing was counted."""
    if count <= 0:
        return 0.0, 1.0
    share, room = wrong / count, z * z / count
    middle = share + room / 2
    reach = sqrt(share * (1 - share) * room + room * room / 4)
    return max(0.0, (middle - reach) / (1 + room)), min(1.0, (middle + reach) / (1 + room))
