from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import Closed, EmbedderFailed, QueueFull, TooLong
from cacheserver.index.models import OnnxEmbedder, Vectors

LONG = "word " * 400


class Gate:
    """The real embedder behind a gate: the tests decide when the model gets on."""

    def __init__(self, embedder: OnnxEmbedder) -> None:
        self._embedder = embedder
        self.id, self.dim = embedder.id, embedder.dim
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.priorities: list[int] = []
        self.broken = False
        self.most: int | None = None  # vectors a call
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.threads.add(threading.current_thread().name)
        if sys.platform == "linux":
            self.priorities.append(os.getpriority(os.PRIO_PROCESS, 0))
        self.entered.release()
        self.open.wait()
        if self.broken:
            raise RuntimeError(f"the model is broken at {texts}")
        return self._embedder.embed(texts)[: self.most]


@pytest.fixture
def gate(embedder: OnnxEmbedder) -> Gate:
    return Gate(embedder)


async def ask(batcher: Batcher, *texts: str) -> list[asyncio.Task[Vectors]]:
    """Return tasks that have all asked, and now wait."""
    tasks = [asyncio.create_task(batcher.embed(text)) for text in texts]
    await asyncio.sleep(0)  # each runs up to its wait
    return tasks


async def busy(batcher: Batcher, gate: Gate) -> asyncio.Task[Vectors]:
    """Return the task of a text that the model is at, until the gate opens."""
    (task,) = await ask(batcher, "the first")
    await asyncio.to_thread(gate.entered.acquire)
    return task


async def test_a_text_gets_the_embedders_own_vector(embedder: OnnxEmbedder) -> None:
    async with Batcher(embedder) as batcher:
        vector = await batcher.embed("What is new?")
    assert np.array_equal(vector, embedder.embed(["What is new?"])[0])
    assert not vector.flags.writeable


async def test_what_queues_up_while_the_model_is_busy_goes_together(gate: Gate) -> None:
    async with Batcher(gate, max_batch=4) as batcher:
        first = await busy(batcher, gate)
        texts = [f"number {n}" for n in range(6)]
        tasks = await ask(batcher, *texts)
        gate.open.set()
        vectors = await asyncio.gather(first, *tasks)
    assert gate.batches == [["the first"], texts[:4], texts[4:]]
    assert gate.threads == {"embedder"}
    wanted = [gate._embedder.embed([text])[0] for text in texts]
    assert np.array_equal(vectors[1:], wanted)


async def test_the_same_text_of_many_askers_is_embedded_once(gate: Gate) -> None:
    async with Batcher(gate, memo=0) as batcher:
        first = await busy(batcher, gate)
        tasks = await ask(batcher, "the first", "same", "same", "same")
        gate.open.set()
        vectors = await asyncio.gather(first, *tasks)
    assert gate.batches == [["the first"], ["same"]]
    assert len({vector.tobytes() for vector in vectors}) == 2


async def test_an_asker_that_hangs_up_fails_nobody_and_costs_no_work(gate: Gate) -> None:
    async with Batcher(gate) as batcher:
        first = await busy(batcher, gate)
        shared, alone, other, again = await ask(batcher, "shared", "alone", "other", "shared")
        for task in (first, shared, alone):
            task.cancel()
        await asyncio.wait([first, shared, alone])
        gate.open.set()
        assert (await other).shape == (await again).shape == (gate.dim,)
    assert gate.batches == [["the first"], ["shared", "other"]]


async def test_a_text_that_was_given_up_can_be_asked_again(gate: Gate) -> None:
    async with Batcher(gate) as batcher:
        first = await busy(batcher, gate)
        (gone,) = await ask(batcher, "text")
        gone.cancel()
        await asyncio.wait([gone])
        gate.open.set()
        await first
        assert (await batcher.embed("text")).shape == (gate.dim,)


async def test_a_text_beyond_the_window_fails_its_own_askers_only(gate: Gate) -> None:
    async with Batcher(gate) as batcher:
        first = await busy(batcher, gate)
        good, bad, better = await ask(batcher, "good", LONG, "better")
        gate.open.set()
        await asyncio.wait([first, good, bad, better])
        assert isinstance(bad.exception(), TooLong)
        assert np.array_equal(good.result(), gate._embedder.embed(["good"])[0])
        assert np.array_equal(better.result(), gate._embedder.embed(["better"])[0])


async def test_a_broken_model_is_a_failed_embedder_and_not_for_the_next_text(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.broken = True
    gate.open.set()
    async with Batcher(gate) as batcher:
        with pytest.raises(EmbedderFailed, match="RuntimeError"):
            await batcher.embed("my secret")
        gate.broken = False
        assert (await batcher.embed("text")).shape == (gate.dim,)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_text_over_which_the_model_breaks_fails_alone(gate: Gate) -> None:
    async with Batcher(gate) as batcher:
        first = await busy(batcher, gate)
        texts = ["good", "half of a pair: \ud800", "better"]
        tasks = await ask(batcher, *texts)
        gate.open.set()
        made = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(one) for one in made[1:]] == [np.ndarray, EmbedderFailed, np.ndarray]


async def test_a_model_that_makes_too_few_vectors_leaves_nobody_waiting(gate: Gate) -> None:
    gate.most = 0
    gate.open.set()
    async with Batcher(gate) as batcher:
        with pytest.raises(EmbedderFailed, match="0 vectors of 1"):
            await batcher.embed("text")


async def test_a_full_queue_takes_no_further_text_but_further_askers(gate: Gate) -> None:
    async with Batcher(gate, max_waiting=2) as batcher:
        await busy(batcher, gate)
        one, two = await ask(batcher, "one", "two")
        with pytest.raises(QueueFull):
            await batcher.embed("three")
        (also,) = await ask(batcher, "one")
        gate.open.set()
        assert np.array_equal(await one, await also)
        await two
        assert (await batcher.embed("three")).shape == (gate.dim,)


async def test_recent_texts_are_remembered_and_the_oldest_forgotten(gate: Gate) -> None:
    gate.open.set()
    async with Batcher(gate, memo=2) as batcher:
        assert batcher.recall("a") is None
        for text in ("a", "b", "a", "c", "a", "b"):
            await batcher.embed(text)
        assert batcher.recall("a") is await batcher.embed("a")
    assert gate.batches == [["a"], ["b"], ["c"], ["b"]]


async def test_without_a_memo_every_question_is_embedded(gate: Gate) -> None:
    gate.open.set()
    async with Batcher(gate, memo=0) as batcher:
        await batcher.embed("a")
        await batcher.embed("a")
    assert gate.batches == [["a"], ["a"]]


async def test_a_refusal_is_not_remembered_as_an_answer(gate: Gate) -> None:
    gate.open.set()
    async with Batcher(gate) as batcher:
        for _ in range(2):
            with pytest.raises(TooLong):
                await batcher.embed(LONG)


def test_an_interpreter_ends_while_a_batcher_is_open() -> None:
    program = """
import asyncio, numpy
from cacheserver.index.batcher import Batcher

class Ones:
    id, dim = "ones", 2
    def embed(self, texts):
        return numpy.ones((len(texts), 2), numpy.float32)

async def main():
    print(await Batcher(Ones()).embed("a text"))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"[1. 1.]\n")


async def test_closing_answers_what_runs_and_fails_what_waits(gate: Gate) -> None:
    batcher = Batcher(gate)
    running = await busy(batcher, gate)
    (waits,) = await ask(batcher, "late")
    closing = asyncio.create_task(batcher.close())
    await asyncio.wait([waits])
    assert isinstance(waits.exception(), Closed)
    gate.open.set()
    await closing
    assert (await running).shape == (gate.dim,)
    await batcher.close()
    with pytest.raises(Closed):
        await batcher.embed("the first")
    assert gate.batches == [["the first"]]


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
async def test_a_batcher_that_stands_back_does_so_in_its_own_thread_alone(gate: Gate) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    gate.open.set()
    async with Batcher(gate, nice=7) as aside, Batcher(gate) as ahead:
        await aside.embed("aside")
        await ahead.embed("ahead")
    assert gate.priorities == [min(19, before + 7), before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
