"""One request after the other through the real policies, in the time of the log.

For each lever there is a world in which it alone is on, and there is one in which all are. A world
has its own memory (what is stored, which prefixes Claude keeps, which model a conversation is on),
so that what one lever does is seen by itself and what they do to each other is seen too: a hit
takes a call away that would have kept a prefix warm, and a routed call writes another prefix.

Rule: the tokens are those that were billed. In a world with all levers the parts telescope: each is
the bill before a lever less the bill with it, so they sum to what was billed less what is left.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, Protocol

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.exact import Exact, ReplayedEntry
from cacheserver.analysis.replay.prompts import Prompts
from cacheserver.analysis.replay.routes import Readings, Routes
from cacheserver.analysis.replay.seen import Reader, ReplayedRequest
from cacheserver.analysis.replay.step import LEVERS, Step, VerificationEstimate
from cacheserver.analysis.replay.stored_question import Found
from cacheserver.analysis.replay.verification import Verification
from cacheserver.batches.eligibility import Series
from cacheserver.cache import cacheability
from cacheserver.cache.ttl import lifetime
from cacheserver.core.types import Nanodollars, Route, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.index.models import Vectors
from cacheserver.ledger.counterfactual import rescale_tokens, usage_of_miss
from cacheserver.pricing.prices import Pricer, billable
from cacheserver.promptcache.prefixes import MOST

_PREFIXES: Final = 50_000  # system prompts and models of which it is known when they were asked
_LIFETIME_S: Final = {"5m": 300.0, "1h": 3_600.0}


class Semantics(Protocol):
    """The semantic tier: by what questions say, or by a stated distribution."""

    def ahead(self, seen: ReplayedRequest) -> None: ...
    def vector(self, seen: ReplayedRequest) -> Vectors | None: ...
    def look(self, seen: ReplayedRequest, call: Call) -> Found: ...
    def store(self, seen: ReplayedRequest, call: Call, found: Found, expires_at: float) -> None: ...


class Engine:
    """All worlds of a replay. `most` bounds the stored answers that each remembers."""

    def __init__(
        self,
        *,
        reader: Reader,
        pricer: Pricer,
        similar: Semantics | None,
        levers: frozenset[str] = frozenset(LEVERS),
        most: int = 500_000,
        prefixes: int = MOST,
        verification: Verification | None = None,
    ) -> None:
        """`similar` None: no semantic tier. Of `levers` those not named are off in every world.

        `prefixes`: how many prefixes of a tenant's prompts the planner remembers. `verification`:
        what its estimate takes for true; None: there is no estimate.
        """
        self.reader = reader
        # Calls seen ahead of their step, so that questions are embedded meanwhile.
        self.window = 256
        self._pricer = pricer
        self._similar = similar if "semantic" in levers else None
        self._levers = levers
        self._verification = verification
        self._readings = Readings(self._vector)
        self._alone = Exact(most)
        self._stored = Exact(most)
        self._warm_alone, self._warm_both, self._warm = Warmth(), Warmth(), Warmth()
        self._warm_routed = Warmth()
        self._prompts_alone = Prompts(pricer.cost, prefixes=prefixes)
        self._prompts = Prompts(pricer.cost, prefixes=prefixes)
        self._routes_alone = Routes(pricer, self._readings)
        self._routes = Routes(pricer, self._readings)
        self._series_alone, self._series = Series(), Series()

    def replay(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Step]]:
        """Yield each call with its step, in order. Times must not go back."""
        window: deque[tuple[Call, ReplayedRequest | None]] = deque()
        for call in calls:
            window.append((call, self.see(call)))
            if len(window) > self.window:
                first, seen = window.popleft()
                yield first, self.step(first, seen)
        for first, seen in window:
            yield first, self.step(first, seen)

    def see(self, call: Call) -> ReplayedRequest | None:
        """Read a call that `step` will get; what that will wait for is begun."""
        seen = self.reader.see(call)
        if seen is not None:
            self.ahead(call, seen)
        return seen

    def ahead(self, call: Call, seen: ReplayedRequest) -> None:
        """Begin what a step will wait for: the embedding of a question not answered before."""
        if self._similar is None or call.status != 200 or call.hit:
            return
        is_stored = self._stored.get(seen.query.fingerprint, call.at) is not None
        if not is_stored or ("routing" in self._levers and not self._readings.knows(seen)):
            self._similar.ahead(seen)

    def step(self, call: Call, seen: ReplayedRequest | None) -> Step:
        """One call. `seen` is what `reader` made of it or of its like; None: no prompt is known."""
        if call.hit:
            return Step(0, reason="another-cache")
        spent = self._bill(call)
        if spent is None:
            return Step(None, reason="unpriced")
        if seen is None or call.status != 200:
            return Step(spent, reason="no-prompt" if seen is None else "failed")
        alone: dict[str, Nanodollars] = {}
        query = seen.query
        shared = query.bypass is None and not _batched(call)
        late, found, step = None, None, None
        if "exact" in self._levers and shared:
            late = self._exact_alone(call, seen, spent, alone)
            found, step = self._cached(call, seen, spent, alone)
        elif "exact" in self._levers:
            self._unshared(call, seen, spent, alone)
        if "prompt-caching" in self._levers and not _batched(call):
            marked, plan = self._prompts_alone.used(seen, call.model, call.usage, call.at)
            _note(alone, "prompt-caching", spent, self._again(call, spent, call.model, marked))
            share = 0.0 if marked is call.usage else _marked(marked)
        else:
            plan, share = "", 0.0
        route = self._routed_alone(call, seen, spent, alone)
        regular = self._series_alone.note(query, call.at, spent) and _may_wait(call, seen)
        if "batch" in self._levers and regular:
            _note(alone, "batch", spent, self._in_batch(call.model, call.usage, call.at))
        if step is not None:
            self._series.note(query, call.at, 0)
        else:
            reason = query.bypass or (found.reason if found is not None else "miss")
            step = self._ask_claude(call, seen, spent, reason, found)
        return replace(
            step,
            alone=_parts(alone),
            together=_parts(step.together),
            late=late,
            route=route,
            plan=plan or None,
            marked=share,
            batched=regular,
            root=seen.root,
        )

    def _exact_alone(
        self, call: Call, seen: ReplayedRequest, spent: Nanodollars, alone: dict[str, Nanodollars]
    ) -> float | None:
        """Step the world of exact hits alone. Return how late the request came for a hit."""
        fingerprint = seen.query.fingerprint
        if self._alone.get(fingerprint, call.at) is not None:
            alone["exact"] = spent
            return None
        late = self._alone.late(fingerprint, call.at)
        self._keep(self._alone, call, seen)
        _note(alone, "exact", spent, self._bill_alone(self._warm_alone, call, seen, spent))
        return late

    def _unshared(
        self, call: Call, seen: ReplayedRequest, spent: Nanodollars, alone: dict[str, Nanodollars]
    ) -> None:
        """A call that no stored answer serves: it is made in the caches' worlds too, and keeps
        its prefix warm there.
        """
        _note(alone, "exact", spent, self._bill_alone(self._warm_alone, call, seen, spent))
        cost = self._bill_alone(self._warm_both, call, seen, spent)
        if cost is not None:
            self._semantic_alone(alone, spent - cost)

    def _cached(
        self, call: Call, seen: ReplayedRequest, spent: Nanodollars, alone: dict[str, Nanodollars]
    ) -> tuple[Found | None, Step | None]:
        """Step both cache tiers. Return the step of a hit, or the neighbours found."""
        kept = self._stored.get(seen.query.fingerprint, call.at)
        if kept is not None:
            self._semantic_alone(alone, spent)
            return None, Step(
                spent, together={"exact": spent}, kind="exact", reason="identical", like=kept.source
            )
        found = None if self._similar is None else self._similar.look(seen, call)
        if found is not None and found.served is not None:
            audits = round(found.audit_share * spent)  # what asking a share of them again costs
            self._semantic_alone(alone, spent - audits)
            return found, Step(
                spent,
                together={"semantic": spent - audits},
                kind="semantic",
                reason=found.reason,
                like=found.served.source,
                right=found.right,
                stands_for=found.stands_for,
            )
        expires_at = self._keep(self._stored, call, seen)
        if expires_at is not None and found is not None and self._similar is not None:
            self._similar.store(seen, call, found, expires_at)
        cost = self._bill_alone(self._warm_both, call, seen, spent)
        if cost is not None:
            self._semantic_alone(alone, spent - cost)
        return found, None

    def _semantic_alone(self, alone: dict[str, Nanodollars], saved: Nanodollars) -> None:
        """Return the saving that the semantic tier adds to the exact one."""
        if self._similar is not None:
            alone["semantic"] = saved - alone.get("exact", 0)

    def _ask_claude(
        self, call: Call, seen: ReplayedRequest, spent: Nanodollars, reason: str, near: Found | None
    ) -> Step:
        """Replay a call that Claude answers, and split its saving by lever, one after the other."""
        model, usage, at = call.model, call.usage, call.at
        parts: dict[str, Nanodollars] = {}
        left = spent

        def note(lever: str, cost: Nanodollars | None) -> None:
            nonlocal left
            if cost is not None and cost != left:
                parts[lever] = left - cost
                left = cost

        route = self._routes.route(seen, model, usage, at) if self._routable(call) else None
        if route is None or route.model == model:
            # Calls that kept a prefix warm were answered here, or went to another model.
            colder = "exact" if "exact" in self._levers else "routing"
            if colder in self._levers:
                usage = self._warm.missed(seen, model, usage, at)
                note(colder, self._again(call, spent, model, usage))
        else:
            usage = rescale_tokens(usage, model, route.model)
            model = route.model
            usage = self._warm.missed(seen, model, usage, at, elsewhere=True)
            note("routing", self._cost(model, usage, at))
        wait = self._series.note(seen.query, at, left) and _may_wait(call, seen)
        if "batch" in self._levers and wait:
            note("batch", self._in_batch(model, usage, at))
        elif "prompt-caching" in self._levers and not _batched(call):
            marked, _ = self._prompts.used(seen, model, usage, at)
            if marked is not usage:
                usage = marked
                note("prompt-caching", self._cost(model, usage, at))
        if route is not None:
            self._routes.record(seen, call, route, usage)
        verified = self._verified(call, left, near)
        return Step(spent, together=parts, reason=reason, verification=verified)

    def _verified(
        self, call: Call, left: Nanodollars, found: Found | None
    ) -> VerificationEstimate | None:
        if self._verification is None or found is None or found.chances is None:
            return None
        return self._verification.estimate(call, found.chances, left, self._pricer.cost)

    def _routed_alone(
        self, call: Call, seen: ReplayedRequest, spent: Nanodollars, alone: dict[str, Nanodollars]
    ) -> Route | None:
        if not self._routable(call):
            return None
        route = self._routes_alone.route(seen, call.model, call.usage, call.at)
        usage = rescale_tokens(call.usage, call.model, route.model)
        usage = self._warm_routed.missed(
            seen, route.model, usage, call.at, elsewhere=route.model != call.model
        )
        _note(alone, "routing", spent, self._again(call, spent, route.model, usage))
        self._routes_alone.record(seen, call, route, usage)
        return route

    def _routable(self, call: Call) -> bool:
        return "routing" in self._levers and not call.usage.iterations

    def _keep(self, stored: Exact, call: Call, seen: ReplayedRequest) -> float | None:
        """Store the answer if the server would. Return its expiry time."""
        if call.message is not None and cacheability.unstorable(_whole(call)) is not None:
            return None
        ttl_s = lifetime(seen.query.controls, seen.query.tenant, seen.query.model)
        if seen.query.ttl_cap_s is not None:
            ttl_s = min(ttl_s, seen.query.ttl_cap_s)
        if ttl_s == 0:
            return None
        stored.put(seen.query.fingerprint, ReplayedEntry(call.source, call.at + ttl_s))
        return call.at + ttl_s

    def _bill(self, call: Call) -> Nanodollars | None:
        """Return the billed usage: nothing for some refusals."""
        if call.message is not None and not billable(call.message, call.at):
            return 0
        return self._cost(call.model, call.usage, call.at)

    def _cost(self, model: str, usage: Usage, at: float) -> Nanodollars | None:
        return self._pricer.cost(model, usage, at)

    def _bill_alone(
        self, warmth: Warmth, call: Call, seen: ReplayedRequest, spent: Nanodollars
    ) -> Nanodollars | None:
        """Return the bill of a call in a world without other levers."""
        colder = warmth.missed(seen, call.model, call.usage, call.at)
        return self._again(call, spent, call.model, colder)

    def _again(
        self, call: Call, spent: Nanodollars, model: str, usage: Usage
    ) -> Nanodollars | None:
        """A bill that may be the one there was: then it is not made again."""
        if usage is call.usage and model == call.model:
            return spent
        return self._cost(model, usage, call.at)

    def _in_batch(self, model: str, usage: Usage, at: float) -> Nanodollars | None:
        return self._cost(model, replace(usage, service_tier="batch", speed="standard"), at)

    def _vector(self, seen: ReplayedRequest) -> Vectors | None:
        return None if self._similar is None else self._similar.vector(seen)


class Warmth:
    """Times of each prefix's last request in a world, by model and system prompt.

    Where fewer calls are made than the log has, a prefix may have gone cold that was read there:
    then the call would have written it again.
    """

    def __init__(self) -> None:
        self._ask_claude: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def missed(
        self,
        seen: ReplayedRequest,
        model: str,
        usage: Usage,
        now: float,
        *,
        elsewhere: bool = False,
    ) -> Usage:
        """Return the usage of a call made now, and record the call.

        `elsewhere`: not of the model that was asked, so nothing was written there before the log.
        """
        marked = usage.cache_read_tokens + usage.cache_write_5m_tokens
        if not marked and not usage.cache_write_1h_tokens:
            return usage
        key = (seen.root, model)
        last = self._ask_claude.pop(key, None)
        lifetime_s = 300.0 if last is None else last[1]
        if usage.cache_write_1h_tokens:
            lifetime_s = _LIFETIME_S["1h"]
        elif usage.cache_write_5m_tokens:
            lifetime_s = _LIFETIME_S["5m"]
        self._ask_claude[key] = (now, lifetime_s)
        if len(self._ask_claude) > _PREFIXES:
            self._ask_claude.popitem(last=False)
        if not usage.cache_read_tokens:
            return usage
        if last is None and not elsewhere:
            return usage  # read early in the log, it was written before it begins
        if last is not None and now - last[0] <= last[1]:
            return usage
        return usage_of_miss(
            usage, warm=False, speed=usage.speed, batch=usage.service_tier == "batch"
        )


def _note(
    alone: dict[str, Nanodollars], lever: str, spent: Nanodollars, cost: Nanodollars | None
) -> None:
    if cost is not None:
        alone[lever] = spent - cost


def _parts(saved: Mapping[str, Nanodollars]) -> Mapping[str, Nanodollars]:
    return {lever: part for lever, part in saved.items() if part}


def _marked(usage: Usage) -> float:
    """Return the share of a prompt's tokens that are read, written, or both."""
    prompt = prompt_tokens(usage)
    return 1 - usage.input_tokens / prompt if prompt else 0.0


def _batched(call: Call) -> bool:
    return call.usage.service_tier == "batch"


def _may_wait(call: Call, seen: ReplayedRequest) -> bool:
    return not _batched(call) and not call.stream and cacheability.batchable(seen.query.body)


def _whole(call: Call) -> dict[str, object]:
    """Return the logged answer as Claude's message, with fields that logs leave out."""
    assert call.message is not None
    filled = {"type": "message", "usage": {}, "stop_reason": "end_turn"}
    return {**filled, **{name: value for name, value in call.message.items() if value is not None}}
