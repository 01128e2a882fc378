"""Memory, files and tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from scripts.chaos_run.history import History
from scripts.chaos_run.rules.violation import Limits, Violation


def growth(history: History, limits: Limits) -> Iterator[Violation]:
    """Check that within one server process only stored data grows."""
    lives = defaultdict(list)
    for sample in sorted(history.samples, key=lambda sample: sample.at):
        lives[sample.life].append(sample)
    for samples in lives.values():
        # The first is from before anything was warm.
        base, later = samples[min(1, len(samples) - 1)], samples[2:]
        for sample in later:
            minutes = 1 + (sample.at - base.at) / 60
            grown = sample.rss - base.rss
            if grown > limits.rss_growth * minutes:
                what = f"memory grew by {grown >> 20} MiB in {minutes - 1:.1f} min"
                yield Violation("memory", sample.at, what)
            more = sample.descriptors - base.descriptors
            if more > limits.descriptors:
                yield Violation("descriptors", sample.at, f"{more} more files are open")
            if sample.tasks is not None and base.tasks is not None:
                more = sample.tasks - base.tasks
                if more > limits.tasks:
                    yield Violation("tasks", sample.at, f"{more} more tasks run")
