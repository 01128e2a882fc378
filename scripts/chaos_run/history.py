"""Records of what callers did and saw, the checker's only input. Times are Unix seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

END = "end"  # the last part of every answer: one that lacks it was cut
MODEL = "claude-haiku-5-5"  # of all questions but those that nobody waits for
MOST_TOKENS = 200  # of an answer
TALK = "talk"  # the namespace of conversations; nothing in it is removed
NOTHING = "Say nothing"  # how questions begin that are answered by an answer that says nothing
UNKNOWN = "?"  # who asked, where the request had no room to say


@dataclass(frozen=True, slots=True)
class AnswerText:
    """Parsed answer text of the simulated Claude: for whom, to which question, and when."""

    whose: str  # TENANT/NAMESPACE/shared or /secret
    question: str
    nonce: str  # one answer's own
    at: float  # when Claude was asked

    @classmethod
    def read(cls, text: str) -> AnswerText | None:
        """Parse a text; None if it is cut or has another form."""
        parts = text.split("|")
        if len(parts) != 5 or parts[4] != END:
            return None
        return cls(parts[0], parts[1], parts[2], float(parts[3]))

    def __str__(self) -> str:
        return "|".join((self.whose, self.question, self.nonce, f"{self.at:.4f}", END))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request for an answer, with its response."""

    start: float
    end: float
    tenant: str
    namespace: str
    question: str
    key: str  # id of the key it was sent with
    limit_s: float = math.inf  # how long it may take
    lost_s: float = 0.0  # of that time, what the server or we were stopped
    status: int | None = None  # None: no answer came, or not all of it
    outcome: str = ""
    reason: str = ""
    entry: str | None = None
    ttl_s: int | None = None
    decision: str | None = None
    request_id: str | None = None
    content: AnswerText | None = None
    broken: str | None = None  # what is wrong with a body that came whole
    stored: bool = False  # acknowledged: it is there from now on
    secret: bool = False  # asked with no-store
    refresh: bool = False
    probe: bool = False  # a question after what must be stored, asked while nothing fails
    off: str = ""  # levers that were asked to stay off: whoever differs joins no call
    blank: bool = False  # an answer came that says nothing
    server: int = 0  # number of the one that was asked; 0: there is one

    @property
    def hit(self) -> bool:
        return self.outcome in ("exact", "semantic", "stale")


@dataclass(frozen=True, slots=True)
class Removed:
    """A purge, an erasure or a bad verdict. `end` is infinite where no acknowledgement came."""

    start: float
    end: float
    tenant: str
    kind: str  # purge, erase, feedback
    by: str  # entry, tag, namespace
    name: str

    @property
    def acknowledged(self) -> bool:
        return self.end != math.inf


@dataclass(frozen=True, slots=True)
class Revoked:
    """A key that is over. `end` is infinite where no acknowledgement came."""

    start: float
    end: float
    key: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A namespace that takes exact hits only, as far as known from `start` to `end`."""

    start: float
    end: float
    tenant: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was acknowledged. `questions` are those of its items, by custom id."""

    start: float
    end: float
    tenant: str
    namespace: str
    tag: str
    id: str
    questions: dict[str, str]


@dataclass(frozen=True, slots=True)
class BatchLookup:
    """A look at a batch: what its results said, by custom id, once it had ended."""

    start: float
    end: float
    id: str
    status: int | None
    ended_at: float | None = None
    items: dict[str, AnswerText] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question within a conversation whose answer was acknowledged as kept."""

    end: float
    tenant: str
    talk: str
    question: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The questions of a conversation, as the server has them; None: it said none."""

    at: float
    tenant: str
    talk: str
    questions: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Called:
    """Any other request, with its duration and response."""

    start: float
    end: float
    what: str
    status: int | None
    limit_s: float = math.inf
    lost_s: float = 0.0
    request_id: str | None = None
    wrong: str | None = None  # what is wrong with what it said


@dataclass(frozen=True, slots=True)
class Fault:
    """Injected fault, with the time that it lasted."""

    start: float
    end: float
    kind: str
    servers: tuple[int, ...] = ()  # numbers of those that it met; empty: all

    def overlaps(self, start: float, end: float) -> bool:
        return self.start < end and start < self.end

    def meets(self, server: int) -> bool:
        """Return whether the fault was one of this server, of its store or of all."""
        return not self.servers or server in self.servers


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory, files and tasks of a server at a moment. A life is one process."""

    at: float
    life: tuple[int, int]  # number of the server, and how often it was started
    rss: int  # bytes
    descriptors: int
    tasks: int | None


@dataclass(slots=True)
class History:
    """All records of a run, unordered."""

    exchanges: list[Exchange] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    called: list[Called] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    lookups: list[BatchLookup] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    # Errors that came from Claude's side: their status, by the request id they carried.
    passed: dict[str, int] = field(default_factory=dict)
    budgets: dict[str, int] = field(default_factory=dict)  # nanodollars a tenant may spend
    rows: list[dict[str, Any]] | None = None  # of the ledger; None: it was not read
    invoice: list[Charge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Charge:
    """A line of the simulated Claude's invoice."""

    at: float
    message_id: str
    nanodollars: int
    batched: bool = False
    model: str = MODEL


def tag_of(question: str) -> str:
    """The tag that whoever asks `question` puts on it: the same for all."""
    digits = "".join(sign for sign in question if sign.isdigit())
    return f"t{int(digits or '0') % 7}"
