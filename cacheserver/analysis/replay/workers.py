"""A replay over several processes, the same for any number of them until a bound is reached.

Nothing a world remembers reaches across two system prompts or two tenants: not what is stored, nor
a prefix, a conversation, a series or a calibration. So calls are shared out by tenant, tools and
system prompt, each process replays its own in order, and the steps come back in the order of the
log. Of what is remembered at most each process should get its share: then many remember no more
than one would, though not always the same.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeAlias

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.step import Step
from cacheserver.core import json_text
from cacheserver.core.errors import SettingsError
from cacheserver.core.messages.attribution import prompt_of
from cacheserver.index.errors import EmbedderFailed

_CHUNK: Final = 64  # calls sent at once
_CHUNKS: Final = 8  # that may wait for a process
_WAITING: Final = 4_096  # calls whose step has not come; then the first of them is waited for
_YOUNG_OBJECTS: Final = 10_000  # before a collection: most objects of a replay stay, and 5% of CPU
_ALIVE_S: Final = 1.0  # between two looks whether a process is still there


@dataclass(frozen=True, slots=True)
class ManagedEngine:
    """Context manager of an engine."""

    engine: Engine
    close: Callable[[], None]


# Makes an engine in the process it is called in. It is pickled: a module's function, a `partial`.
EngineMaker: TypeAlias = Callable[[], ManagedEngine]


def replay(
    calls: Iterable[Call], make_engine: EngineMaker, *, processes: int
) -> Iterator[tuple[Call, Step]]:
    """Yield each call with its step, in order. One process means the current one.

    Raises `EmbedderFailed` and `SettingsError` as an engine does, and `RuntimeError` where a
    process ended before its work did.
    """
    if processes <= 1:
        made = make_engine()
        try:
            yield from made.engine.replay(calls)
        finally:
            made.close()
        return
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(make_engine)) for _ in range(processes)]
        waiting: deque[tuple[Call, _Worker]] = deque()
        for call in calls:
            worker = workers[share_of(call) % processes]
            worker.give(call)
            waiting.append((call, worker))
            while waiting and (len(waiting) > _WAITING or waiting[0][1].ready):
                first, its = waiting.popleft()
                yield first, its.take()
        for worker in workers:
            worker.drain()
        while waiting:
            first, its = waiting.popleft()
            yield first, its.take()


def share_of(call: Call) -> int:
    """Return the worker of a call; the same for all calls that could share state."""
    body = call.body or {}
    start = json_text.dumps([call.tenant, body.get("tools"), prompt_of(body)])
    return int.from_bytes(hashlib.blake2b(start, digest_size=8).digest())


class _Worker:
    """The other end of a process: calls go in, steps come out in the same order."""

    def __init__(self, process: BaseProcess, given: Any, done: Any) -> None:
        self._process = process
        self._given = given
        self._done = done
        self._chunk: list[Call] = []
        self._out = 0  # calls sent whose steps have not come
        self._steps: deque[Step] = deque()

    @property
    def ready(self) -> bool:
        """Return whether a step can be taken without waiting."""
        if not self._steps and self._out:
            try:
                self._take_in(self._done.get_nowait())
            except queue.Empty:
                return False
        return bool(self._steps)

    def give(self, call: Call) -> None:
        self._chunk.append(call)
        if len(self._chunk) == _CHUNK:
            self._send(drain=False)

    def drain(self) -> None:
        """Step through all calls given so far, without waiting for more."""
        self._send(drain=True)

    def take(self) -> Step:
        """Wait for the next step."""
        if not self.ready:
            self.drain()
        while not self._steps:
            try:
                self._take_in(self._done.get(timeout=_ALIVE_S))
            except queue.Empty:
                self._check()
        return self._steps.popleft()

    def _send(self, *, drain: bool) -> None:
        while True:
            try:
                self._given.put((self._chunk, drain), timeout=_ALIVE_S)
                break
            except queue.Full:
                self._check()
        self._out += len(self._chunk)
        self._chunk = []

    def _take_in(self, steps: list[Step] | EmbedderFailed | SettingsError) -> None:
        if isinstance(steps, Exception):
            raise steps
        self._steps.extend(steps)
        self._out -= len(steps)

    def _check(self) -> None:
        if not self._process.is_alive():
            with suppress(queue.Empty):  # it may have said why
                while True:
                    self._take_in(self._done.get_nowait())
            raise RuntimeError("a process of the replay ended before its work did")


@contextmanager
def _worker(make_engine: EngineMaker) -> Iterator[_Worker]:
    # A fresh interpreter: the models' threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    given, done = context.Queue(_CHUNKS), context.Queue()
    process = context.Process(target=_work, args=(given, done, make_engine), daemon=True)
    process.start()
    try:
        yield _Worker(process, given, done)
    finally:
        process.kill()  # what it holds is of no use to anybody once this ends
        process.join()
        for one in (given, done):
            one.close()
            one.cancel_join_thread()


def _work(given: Any, done: Any, make_engine: EngineMaker) -> None:
    """Run a worker process until it or its parent is killed."""
    end_with_parent()
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        _replay(given, done, make_engine())
    except (EmbedderFailed, SettingsError) as failed:
        done.put(failed)


def _replay(given: Any, done: Any, made: ManagedEngine) -> None:
    engine, window = made.engine, deque[Any]()
    while True:
        calls, drain = given.get()
        steps = []
        for call in calls:
            window.append((call, engine.see(call)))
            if len(window) > engine.window:
                steps.append(engine.step(*window.popleft()))
        while drain and window:
            steps.append(engine.step(*window.popleft()))
        if steps:
            done.put(steps)


def end_with_parent() -> None:
    """End this process when its parent ends, even if the parent is killed.

    A queue does not tell: who reads of it holds its other end too, and waits for ever.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
