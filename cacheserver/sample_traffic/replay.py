"""Replay of the sample traffic: a background task, one at a time, that can be watched and stopped.

Rule: a request of the sample takes the path of every request. A request that fails is an outcome;
only a store that fails ends the replay.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeAlias

from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.sample_traffic import traffic
from cacheserver.storage.connection import Connection, command

logger = logging.getLogger(__name__)

State: TypeAlias = Literal["none", "running", "done", "stopped", "failed"]
Verdict: TypeAlias = Literal["yes", "no"]

WHO: Final = "sample traffic"  # in the record of labels and settings

_LABELLED: Final = 3  # every third unsure pair: the others are left for the person who looks
_GOOD: Final = 6  # every sixth right semantic hit is called good


@dataclass(frozen=True, slots=True)
class Served:
    """Answer to a request: `kind` is that of its decision, or `failed`."""

    kind: str
    decision: str | None = None  # its id
    text: str = ""


@dataclass(frozen=True, slots=True)
class UnsurePair:
    id: str
    stored: str  # the question of the stored answer
    asked: str


class Server(Protocol):
    """The server as the sample uses it. All raise `StoreError`."""

    async def prepare(self) -> None:
        """Set up the tenant, and wait until questions are matched."""

    async def ask(self, fields: Mapping[str, Any]) -> Served:
        """Answer a question now."""

    async def defer(self, fields: Mapping[str, Any]) -> Served:
        """Take a question as a job."""

    async def feedback(self, decision: str, *, good: bool) -> None:
        """Give a caller's verdict."""

    async def unsure(self) -> Sequence[UnsurePair]:
        """Return the pairs that wait for a label, those of hits first, once all is learned from."""

    async def label(self, pair: str, verdict: Verdict) -> None:
        """Give an admin's verdict."""


@dataclass(slots=True)
class Progress:
    """Progress of a replay. `outcomes` are numbers of answers by the kind of their decision."""

    state: State = "none"
    asked: int = 0
    of: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    feedback: int = 0
    labels: int = 0
    began_at: float | None = None  # Unix seconds
    ended_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcomes": dict(sorted(self.outcomes.items()))}


class _StoppedElsewhere(Exception):
    """Raised in a replay that another server has stopped."""


class SampleTraffic:
    """The replay of this server. What was replayed is remembered in the store.

    Another server stops it by what it writes there: a replay looks at it before each step.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        clock: Callable[[], float],
        swallowed: Callable[[str], object],
    ) -> None:
        self._redis = redis
        self._key = f"{prefix}sample"
        self._clock = clock
        self._swallowed = swallowed
        self._task: asyncio.Task[None] | None = None
        self._progress = Progress()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def progress(self) -> Progress:
        """Return how far the replay is, or how the last one ended. Raises `StoreError`."""
        if self._progress.state != "none":
            return self._progress
        value = await command(self._redis, "GET", self._key)
        if value is None:
            return Progress()
        found = json_text.loads(value)
        # A server that was killed wrote no end.
        state = "stopped" if found["state"] == "running" else found["state"]
        return Progress(**{**found, "state": state, "outcomes": Counter(found["outcomes"])})

    def start(self, server: Server) -> Progress:
        """Begin a replay, unless one runs."""
        if not self.running:
            steps = traffic.steps()
            self._progress = Progress(
                "running", of=sum(step.copies for step in steps), began_at=self._clock()
            )
            self._task = asyncio.create_task(self._run(server, steps), name="sample-traffic")
        return self._progress

    async def stop(self) -> None:
        """End a replay under way."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def stop_everywhere(self) -> None:
        """End a replay under way, of whichever server on this store. Raises `StoreError`.

        Another server's ends with the step that it is at.
        """
        await self.stop()
        if (found := await self.progress()).state != "none":
            stopped = replace(found, state="stopped")
            await command(self._redis, "SET", self._key, json_text.dumps(stopped.as_json()))

    async def forget(self) -> None:
        """Forget that there was a replay. Raises `StoreError`."""
        await self.stop()
        self._progress = Progress()
        await command(self._redis, "DEL", self._key)

    async def _remember(self) -> None:
        await command(self._redis, "SET", self._key, json_text.dumps(self._progress.as_json()))

    async def _check(self) -> None:
        """Raise `_StoppedElsewhere` if the store no longer says that this replay runs."""
        value = await command(self._redis, "GET", self._key)
        found = {} if value is None else json_text.loads(value)
        if (found.get("state"), found.get("began_at")) != ("running", self._progress.began_at):
            raise _StoppedElsewhere

    async def _run(self, server: Server, steps: Sequence[traffic.Step]) -> None:
        progress, ours = self._progress, True
        try:
            await self._remember()
            await server.prepare()
            await self._ask_all(server, steps)
            await self._label(server)
            progress.state = "done"
        except asyncio.CancelledError:
            progress.state = "stopped"
            raise
        except _StoppedElsewhere:  # what the store says now is not this replay's
            ours, self._progress = False, Progress()
        except Exception as error:  # the task boundary
            progress.state = "failed"
            self._swallowed("sample-traffic")
            if not isinstance(error, StoreError):
                logger.error("the replay of sample traffic failed: %s", type(error).__name__)
        finally:
            progress.ended_at = self._clock()
            try:
                if ours:
                    await self._remember()
            except StoreError:
                self._swallowed("sample-traffic")

    async def _ask_all(self, server: Server, steps: Sequence[traffic.Step]) -> None:
        known, right = traffic.answers(), 0
        for step in steps:
            await self._check()
            once = server.defer if step.deferred else server.ask
            found = await asyncio.gather(*(once(step.fields) for _ in range(step.copies)))
            self._progress.asked += len(found)
            self._progress.outcomes.update(one.kind for one in found)
            for one in found:
                if one.kind != "semantic" or one.decision is None:
                    continue
                good = one.text == known.text.get(step.fields["prompt"])
                right += good
                if not good or right % _GOOD == 0:
                    await server.feedback(one.decision, good=good)
                    self._progress.feedback += 1

    async def _label(self, server: Server) -> None:
        known = traffic.answers()
        for pair in (await server.unsure())[::_LABELLED]:
            serves = known.serves(pair.stored, pair.asked)
            if serves is not None:
                await self._check()
                await server.label(pair.id, "yes" if serves else "no")
                self._progress.labels += 1
