"""The ports with nothing plugged in: what the path does if a capability is switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cacheserver.cache.budget_verdict import Admission
from cacheserver.cache.ports import NOTHING_READ, Read
from cacheserver.core.types import Candidate, Entry, Miss, PlannedCall, Query, Tenant
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar as Required
from cacheserver.matching.features import NAMES
from cacheserver.matching.profile import Difference, Profile
from cacheserver.matching.shrinkage import EntryRecord
from cacheserver.matching.verification_outcome import Plausible, Verified
from cacheserver.matching.volatility import Volatility


class NoLease:
    """A lease that never lapses: no other server changes what this one knows."""

    term = 0

    async def vouch(self, term: int) -> None:
        return


class NoBudgets:
    """Budgets without a limit."""

    async def admit(self, query: Query, id: str, now: float) -> Admission:
        return None

    async def hold(self, query: Query, id: str, now: float, *, token: str) -> Admission:
        return None

    async def spent_out(self, tenant: Tenant, key_id: str | None, now: float) -> None:
        return None

    async def has_room(self, tenant: Tenant, key_id: str | None, now: float) -> bool:
        return True


class NoRateLimits:
    """Nobody asks too fast."""

    async def request(self, tenant: Tenant, key_id: str | None) -> None:
        return None

    async def miss(self, query: Query, id: str) -> None:
        return None

    def ended(self, id: str, tokens: int | None = 0) -> None:
        return None


class NoEscalation:
    """Every answer of Claude's will do."""

    def holds_back(self, query: Query, planned: PlannedCall) -> bool:
        return False

    def verdict(self, query: Query, planned: PlannedCall, message: Mapping[str, Any]) -> str | None:
        return None

    def escalate(
        self, query: Query, planned: PlannedCall, message: Mapping[str, Any], why: str, now: float
    ) -> PlannedCall | None:
        return None

    def replaced(self, query: Query, message: Mapping[str, Any], now: float) -> None:
        return None


class NoLearner:
    """Learner that learns nothing."""

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        return None

    def audit(self, query: Query, hit: Candidate, share: float, *, verified: bool) -> None:
        return None


class NoLanguage:
    """Language without rules: only an answer to the same normalised text is served."""

    def without_courtesies(self, text: str) -> str:
        return text

    def volatility(self, text: str) -> Volatility:
        return Volatility("stable", 1.0)

    def profile(self, text: str) -> Profile:
        return replace(_UNREAD, form=(text,))

    def compare(self, a: Profile, b: Profile) -> Difference | None:
        return None if a.form != b.form else Difference(a, b, (), (), 0, 0, False, False, (), ())

    def are_twins(self, difference: Difference) -> bool:
        return True

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        return ()

    def features(self, difference: Difference, fired: Sequence[str]) -> tuple[float, ...]:
        return _SAME_WORDS

    def coverage(self, question: Profile, stored: Sequence[Profile]) -> float:
        return float(any(one.form == question.form for one in stored))

    def forget_texts(self) -> None: ...


class PriorOnly:
    """Calibrations of scopes that have learned nothing: the shipped prior decides."""

    async def with_bar(
        self, tenant: str, scope: str, target: float
    ) -> tuple[Calibration, Required]:
        return Calibration(), _required(target)


class NoOutcomes:
    """Outcomes of hits: none is known."""

    def keys(self, tenant: str, question_key: str, entry_id: str) -> Sequence[str]:
        return ()

    async def past(
        self,
        tenant: str,
        question_key: str,
        refs: Sequence[tuple[str, str]],
        read: Read = NOTHING_READ,
    ) -> Mapping[str, EntryRecord]:
        return {entry: EntryRecord(False, (0.0, 0.0), (0.0, 0.0)) for entry, _ in refs}


class NoVerifier:
    """No model is asked."""

    def considers(self, query: Query, decision: Miss) -> bool:
        return False

    async def verify(
        self, query: Query, decision: Miss, found: Plausible, *, batched: bool
    ) -> Verified | None:
        return None

    async def observe(
        self, query: Query, candidate: Candidate, *, right: bool, weight: float, served: bool
    ) -> None:
        return None

    def filled(self, query: Query, seconds: float) -> None:
        return None


_NONE = frozenset[str]()
_UNREAD = Profile(
    every=_NONE,
    content=(),
    bag=_NONE,
    numbers=_NONE,
    quantities=frozenset(),
    units=_NONE,
    times=_NONE,
    names=_NONE,
    spans=_NONE,
    flows=frozenset(),
    pronouns=(),
    negations=0,
    passive=False,
    asks="",
    grams=_NONE,
    length=0,
    form=(),
    recognised=False,
)
_SAME_WORDS = tuple(float(name == "same_words") for name in NAMES)


@lru_cache(maxsize=64)  # targets: tenants choose among a few
def _required(target: float) -> Required:
    return conformal_bound.bar_for(Calibration(), target)
