"""Kinds of leaks of one request, each with the money and the group it is reported in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from cacheserver.analysis.audit.successors import successor
from cacheserver.analysis.audit.systems import Systems
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import Step
from cacheserver.conversations import trimming
from cacheserver.core.rules.history import HistoryRules
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.ledger.counterfactual import rescale_tokens, without_prompt_caching
from cacheserver.pricing import estimate
from cacheserver.promptcache.layout import minimum
from cacheserver.promptcache.planner import LIFETIME_S

LATE: Final = "identical, too late"
_DYNAMIC: Final = "dynamic system prompt"
_LONG_HAIKU: Final = 100_000  # tokens; beyond, each costs five times as much (pricing page)
_SYSTEMS: Final = 10_000
_HISTORY: Final = HistoryRules()

_Leaked: TypeAlias = tuple[str, Nanodollars, str]  # the kind, the money, the group
Cost: TypeAlias = Callable[[str, Usage, float], Nanodollars | None]

# What is done about each kind.
FIXES: Final[Mapping[str, str]] = {
    "identical requests": "ask through cacheserver: exact repeats are answered within "
    "CACHESERVER_DEFAULT_TTL_S",
    LATE: "raise CACHESERVER_DEFAULT_TTL_S, or the lifetime of this task, if its answers stay true",
    "similar questions": "ask through cacheserver with an error target: CACHESERVER_TARGET",
    "unmarked prefix": "let cacheserver plan Claude's prompt cache: it is on by default",
    "marks nobody reads": "take the cache_control marks off, and let cacheserver plan them",
    _DYNAMIC: "move times, ids and names out of the system prompt into the question "
    "(cacheserver lint finds them)",
    "simple work, dear model": 'ask for "auto", or set an override in the tenant\'s routing rules',
    "older model": "ask its successor, and try it on your own questions first (trials)",
    "work that could wait": 'send it as a batch: `when: "batch"`, or /v1/messages/batches',
    "growing conversations": "shorten them: history rules with `messages: true`; what is left out "
    "is forgotten, or summarised",
    "long prompts on Haiku": "keep prompts of Haiku 5.5 under 100,000 tokens (history rules)",
    "failures that were billed": "look at what failed: it was paid for, and no cache can keep it",
}


@dataclass(slots=True)
class _System:
    """A system prompt without what changes in it, as it was asked last."""

    root: str
    at: float


class Leaking:
    """Finder of leaks, request by request. Remembers system prompts to find similar ones."""

    def __init__(self, cost: Cost, systems: Systems) -> None:
        self._cost = cost
        self._systems = systems
        self._last: OrderedDict[tuple[str, str, str], _System] = OrderedDict()

    def of(self, call: Call, step: Step) -> Iterator[_Leaked]:
        """Yield each kind with its money and group: mostly the requests of one system prompt.

        Money may be negative, where one request pays for others.
        """
        spent, alone = step.spent or 0, step.alone
        group = self._systems.group(step.root, call.body, call.model)
        if step.reason == "failed":
            if spent:
                yield "failures that were billed", spent, group
            return
        if step.kind == "exact":
            yield "identical requests", alone.get("exact", 0), group
        if step.kind == "semantic":
            yield "similar questions", alone.get("semantic", 0), group
        if step.late is not None:
            yield LATE, spent, group
        if alone.get("prompt-caching"):
            yield "unmarked prefix", alone["prompt-caching"], group
        if step.plan == "caller-marked":
            yield "marks nobody reads", self._premium(call, spent), group
        if alone.get("routing") and step.route is not None and step.route.model != call.model:
            yield "simple work, dear model", alone["routing"], group
        if alone.get("batch"):
            yield "work that could wait", alone["batch"], group
        yield from self._dearer(call, spent, group)
        if call.body is not None:
            yield from self._longer(call, call.body, spent, group)
            yield from self._dynamic(call, call.body, step, group)

    def _dearer(self, call: Call, spent: Nanodollars, group: str) -> Iterator[_Leaked]:
        """Yield the savings of a newer model or a shorter prompt."""
        newer = successor(call.model)
        if newer is not None:
            saved = self._less(spent, newer, rescale_tokens(call.usage, call.model, newer), call.at)
            if saved > 0:
                yield "older model", saved, ""
        prompt = prompt_tokens(call.usage)
        if call.model.startswith("claude-haiku-5-5") and prompt > _LONG_HAIKU:
            cut = _shortened(call.usage, _LONG_HAIKU / prompt)
            yield "long prompts on Haiku", self._less(spent, call.model, cut, call.at), group

    def _longer(
        self, call: Call, body: Mapping[str, Any], spent: Nanodollars, group: str
    ) -> Iterator[_Leaked]:
        """Yield the saving of leaving out older turns; tokens of each kind in proportion."""
        messages = body.get("messages")
        if not isinstance(messages, list) or len(messages) < 2 * _HISTORY.keep:
            return
        cut = trimming.cut(messages, _HISTORY, call.model)
        if cut is not None:
            whole = max(1, estimate.prompt_tokens(body, call.model))
            kept = _shortened(call.usage, max(0.0, 1 - cut.tokens / whole))
            saved = self._less(spent, call.model, kept, call.at)
            yield "growing conversations", saved, group

    def _dynamic(
        self, call: Call, body: Mapping[str, Any], step: Step, group: str
    ) -> Iterator[_Leaked]:
        """Yield the saving of Claude's cache if the system prompt did not change.

        Within five minutes of a request with the same one but for such words its tokens are read,
        else they are written.
        """
        moving = self._systems.moving(step.root, body, call.model)
        if moving is None or call.usage.cache_read_tokens:
            return
        tokens = moving.tokens
        if tokens < minimum(call.model) or tokens > call.usage.input_tokens:
            return
        key = (call.tenant, call.model, moving.digest)
        last = self._last.pop(key, None)
        self._last[key] = _System(step.root, call.at)
        if len(self._last) > _SYSTEMS:
            self._last.popitem(last=False)
        if last is not None and last.root == step.root:
            return  # it stood still: that is "unmarked prefix"
        warm = last is not None and call.at - last.at <= LIFETIME_S["5m"]
        usage = replace(
            call.usage,
            input_tokens=call.usage.input_tokens - tokens,
            cache_read_tokens=tokens if warm else 0,
            cache_write_5m_tokens=call.usage.cache_write_5m_tokens + (0 if warm else tokens),
        )
        yield _DYNAMIC, self._less(step.spent or 0, call.model, usage, call.at), group

    def _premium(self, call: Call, spent: Nanodollars) -> Nanodollars:
        """Return the cost of marks over plain input; negative if they were read."""
        return self._less(spent, call.model, without_prompt_caching(call.usage), call.at)

    def _less(self, spent: Nanodollars, model: str, usage: Usage, at: float) -> Nanodollars:
        cost = self._cost(model, usage, at)
        return 0 if cost is None else spent - cost


def _shortened(usage: Usage, share: float) -> Usage:
    """Return a usage with a share of every kind of input."""
    return replace(
        usage,
        input_tokens=round(usage.input_tokens * share),
        cache_write_5m_tokens=round(usage.cache_write_5m_tokens * share),
        cache_write_1h_tokens=round(usage.cache_write_1h_tokens * share),
        cache_read_tokens=round(usage.cache_read_tokens * share),
    )
