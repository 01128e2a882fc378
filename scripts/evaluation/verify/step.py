"""The verification step of a replay, with a simulated model of stated error rates.

What the service decides is decided by the same rules (`cacheserver.matching.verification`). The
model's yes or no is drawn from a digest of what is compared and the seed, so a question asked again
gets the same verdict, as it does from the memory of the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cacheserver.matching import conformal_bound, verification
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.decision import ScoredCandidate
from cacheserver.matching.verification import Askable, Audited, ErrorRates, ExpectedErrors
from scripts.evaluation.data import Question
from scripts.evaluation.meanings import folded

# Decisions of the words, the labels and the cosine (`verification_outcome.unsure`).
UNSURE = frozenset(("vetoed", "unsupported", "improbable", "below-bar"))
# Shares of the verified hits that are audited, until the rates are measured and after.
AUDIT_SHARE, AUDIT_SHARE_LATER = 0.3, 0.05
MOST = 3  # candidates in a call


@dataclass(frozen=True, slots=True)
class Simulated:
    """A verifying model."""

    sensitivity: float = 0.95
    false_yes: float = 0.02
    # Errors are drawn by pair of texts, or by pair of intents: one draw for all their questions.
    by: Literal["texts", "intents"] = "texts"
    stated: ErrorRates | None = None  # what the server takes for granted; None: the true rates
    mode: Literal["inline", "background"] = "inline"

    @property
    def believed(self) -> ErrorRates:
        return self.stated or ErrorRates(self.sensitivity, self.false_yes)


@dataclass(frozen=True, slots=True)
class Reply:
    """Outcome of asking."""

    asked: tuple[Askable, ...]
    called: bool = True  # else the verdict was remembered
    served: ScoredCandidate | None = None
    yeses: frozenset[str] = frozenset()  # entry ids; of a call in the background
    posterior: float = 0.0
    audit_share: float = 0.0


class Step:
    """Asks the simulated model about the misses of one replay."""

    def __init__(
        self, model: Simulated, asked: Sequence[Question], target: float, seed: int
    ) -> None:
        self._model = model
        self._asked = asked
        self._target = target
        self._seed = seed
        self.audited = Audited()
        self.errors = ExpectedErrors()
        self.candidates = 0  # in all calls
        self._said: dict[tuple[str, str], bool] = {}  # verdicts by text and entry
        self.off = False  # audited yeses broke the target
        self._hits = self._wrong = 0  # audited verified hits

    @property
    def rates(self) -> ErrorRates:
        return verification.measured_rates(self.audited, self._model.believed)

    def ask(
        self, at: int, candidates: Sequence[ScoredCandidate], bar: Bar, *, cold_start: bool
    ) -> Reply | None:
        """Return the model's reply about the candidates that a yes may serve; None if none may.

        `candidates` were judged with the decisive vetoes. In the background no yes serves: the
        request is a miss. Nothing is counted: see `note_reply`.
        """
        if self.off:
            return None
        open_ = [c for c in candidates if c.evidence and c.evidence.group not in bar.shut]
        floor = conformal_bound.probability_floor(self._target)
        found = [
            one
            for one in verification.askable(
                open_, floor=floor, rates=self.rates, cold_start=cold_start
            )
            if self.errors.admits(one.posterior, self._target)
        ][:MOST]
        if not found:
            return None
        known = [self._said.get(self._key(at, one)) for one in found]
        called = True not in known and None in known
        reply = Reply(tuple(found), called, audit_share=self._audit_share)
        if self._model.mode == "background":
            yeses = (one.id for one in found if self.says_yes(at, int(one.id)))
            return replace(reply, yeses=frozenset(yeses))
        for one in found:
            if self.says_yes(at, int(one.id)):
                served = next(c for c in open_ if c.id == one.id)
                return replace(reply, served=served, posterior=one.posterior)
        return reply

    def _key(self, at: int, one: Askable) -> tuple[str, str]:
        return self._asked[at].text, one.id

    def says_yes(self, at: int, entry: int) -> bool:
        """Return the model's verdict on a stored answer; the same whenever it is asked."""
        one, other = self._asked[at], self._asked[entry]
        rate = self._model.sensitivity if one.meaning == other.meaning else self._model.false_yes
        pair = sorted(
            folded(x.text) if self._model.by == "texts" else x.intent or x.meaning
            for x in (one, other)
        )
        key = "\0".join((str(self._seed), self._model.by, *pair)).encode()
        drawn = hashlib.blake2b(key, digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64 < rate

    def note_reply(self, at: int, reply: Reply) -> None:
        """Count a call, remember its verdicts, and count the hit that it made."""
        if reply.called:
            self.candidates += len(reply.asked)
            for one in reply.asked:
                self._said[self._key(at, one)] = self.says_yes(at, int(one.id))
        if reply.served is not None:
            self.errors = self.errors.after(reply.posterior)

    def observe(
        self, *, yes: bool, right: bool, weight: float, posterior: float | None = None
    ) -> None:
        """Count a verdict that was checked; `posterior` of a verified hit."""
        self.audited = self.audited.after(yes=yes, right=right, weight=weight)
        if yes and posterior is not None:
            self.errors = self.errors.audited(posterior, right=right)
            self._hits += 1
            self._wrong += not right
            self.off = self.off or (
                not right and verification.breaks_target(self._wrong, self._hits, self._target)
            )

    @property
    def _audit_share(self) -> float:
        return AUDIT_SHARE_LATER if self.rates.measured else AUDIT_SHARE
