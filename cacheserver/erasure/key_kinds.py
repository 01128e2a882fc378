"""Every kind of key that the stores write: what it holds, how long, and how it is erased.

Rule: a kind that is not listed here may not be written (`tests/erasure/test_key_kinds.py`). An
erasure walks all keys and asks this list what to do with each; `docs/erasure.md` shows it.

In a key, `T` is a tenant with its length (`4:acme`), `<word>` any other part. The last part may
hold colons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, TypeAlias

# With its `entry`; each `record` by what it was made with; `always` where anything of its tenant
# is erased, for it is made anew at little cost; with the `tenant` as a whole; or it `stays`.
How: TypeAlias = Literal["entry", "record", "always", "tenant", "stays"]


@dataclass(frozen=True)
class Kind:
    """One kind of key."""

    name: str  # as an erasure's reply counts it
    key: str
    how: How
    holds: str
    life: str

    @cached_property
    def literal(self) -> str:
        """Return what such keys begin with."""
        return re.split(r"T|<", self.key, maxsplit=1)[0]

    def parts(self, key: str) -> dict[str, str] | None:
        """The parts of a key by name, the tenant as `T`; None for a key of another kind."""
        if not key.startswith(self.literal):
            return None
        found, rest = dict[str, str](), key[len(self.literal) :]
        pattern = self.key[len(self.literal) :]
        while pattern:
            if pattern[0] == "T":
                size, _, rest = rest.partition(":")
                if not size.isdigit() or len(rest) < int(size):
                    return None
                found["T"], rest, pattern = rest[: int(size)], rest[int(size) :], pattern[1:]
            elif pattern[0] == "<":
                name, _, pattern = pattern[1:].partition(">")
                end = rest.find(pattern[0]) if pattern else len(rest)
                if end < 0:
                    return None
                found[name], rest = rest[:end], rest[end:]
            elif rest[:1] == pattern[0]:
                rest, pattern = rest[1:], pattern[1:]
            else:
                return None
        return None if rest else found


def _kinds() -> tuple[Kind, ...]:
    answer, day, month = "as the answer", "a day", "30 days"
    quarter, own = "90 days", "until it is changed"
    job = "as results are kept (29 days)"
    return (
        Kind("answers", "e:<fingerprint>", "entry", "question, answer", answer),
        Kind("vectors", "v:<fingerprint>", "entry", "the question's vector", answer),
        Kind("answer_vectors", "a:<fingerprint>", "entry", "the answer's vectors", answer),
        Kind("answer_marks", "s:<fingerprint>", "entry", "ids", answer),
        Kind("answer_ids", "ids", "entry", "ids, tags, digests", answer),
        Kind("answer_deadlines", "deadlines", "entry", "ids", answer),
        Kind("answer_worth", "worth", "entry", "ids", answer),
        Kind("answer_hits", "hits", "entry", "ids", answer),
        Kind("answer_sums", "state", "stays", "numbers", "always"),
        Kind("groups", "g:<group>", "entry", "ids; names in the key", answer),
        Kind("purges", "p:<group>", "stays", "a time; names or digests in the key", "two days"),
        Kind("decisions", "d:T:<id>", "record", "questions", day),
        Kind("decision_lists", "near:T", "tenant", "ids", day),
        Kind("decision_queue", "dq", "stays", "ids, names of tenants", day),
        Kind("decision_bytes", "db", "stays", "numbers", "always"),
        Kind("journal_batches", "b:<name>", "stays", "nothing", "an hour"),
        Kind("counts", "stats", "stays", "numbers", "always"),
        Kind("tenant_counts", "stats:<tenant>", "stays", "numbers", "always"),
        Kind("labels", "labels:T:<scope>", "record", "numbers, ids, digests", quarter),
        Kind("label_windows", "windows:T", "tenant", "digests", quarter),
        Kind("label_sizes", "sizes:T", "tenant", "numbers", quarter),
        Kind("learned", "learned", "stays", "digests of scopes", quarter),
        Kind("learned_bytes", "learnedbytes", "stays", "numbers by digest", quarter),
        Kind("weights", "calib:T:<scope>", "stays", "fitted weights", quarter),
        Kind("weight_lists", "calibs:T", "stays", "digests", quarter),
        Kind("evidence", "evid:T:<entry>", "record", "numbers", answer),
        Kind("group_evidence", "gevid:T:<group>", "tenant", "numbers", month),
        Kind("tombstones", "tomb:T:<size>:<question>:<entry>", "record", "digests", answer),
        Kind("spending", "spend:T:<rest>", "stays", "money", "two days"),
        Kind("reviews", "review:T:<id>", "record", "questions", month),
        Kind("review_lists", "reviews:T", "tenant", "ids", month),
        Kind("once", "once:T:<digest>", "tenant", "ids", "a day; 30 days"),
        Kind("bars", "bars:T", "stays", "settings", own),
        Kind("bar_changes", "barlog:T", "stays", "settings, who", "the last 10,000"),
        Kind("families", "fam:T:<skeleton>", "tenant", "digests, numbers", month),
        Kind("family_lists", "fams:T", "tenant", "digests", month),
        Kind("repeats", "famq:T:<request>", "record", "digests", answer),
        Kind("prompt_versions", "ver:T:<namespace>:<digest>", "record", "digests, numbers", month),
        Kind("version_lists", "vers:T:<namespace>", "record", "digests", month),
        Kind("version_namespaces", "verns:T", "record", "names", month),
        Kind("prefixes", "pc:T:<prefix>", "tenant", "digests, numbers", "two days"),
        Kind("prefix_lists", "pcs:T", "tenant", "digests", "two days"),
        Kind("prewarm_slots", "pcw:T:<rest>", "stays", "names of settings", "one slot"),
        Kind("prefix_sums", "pcu:T:<hour>", "stays", "numbers, money", "8 days"),
        Kind("turns", "cvt:T:<size>:<namespace>:<name>", "record", "questions, answers", "set"),
        Kind(
            "turn_sizes", "cvt:T:<size>:<namespace>:<name>:size", "record", "tags, digests", "set"
        ),
        Kind("growth", "cvg:T:<size>:<namespace>:<name>", "record", "numbers", "set"),
        Kind("summaries", "sum:<tenant>:<digest>", "always", "summaries of turns", "set"),
        Kind("grown", "bloat:<tenant>", "tenant", "digests", day),
        Kind("turn_models", "cv:<digest>", "stays", "a model by a digest of turns", "an hour"),
        Kind("jobs", "bt:job:<id>", "record", "tags, digests, a webhook's address", job),
        Kind("job_items", "bt:in:<id>", "record", "requests", "until answered"),
        Kind("job_results", "bt:out:<id>", "record", "answers", job),
        Kind("job_asks", "bt:asks:<id>", "record", "digests", "until answered"),
        Kind("job_erasures", "bt:gone:<id>", "record", "ids", job),
        Kind("job_bytes", "bt:bytes", "stays", "numbers by id or digest", job),
        Kind("job_ages", "bt:kept", "stays", "ids, digests", job),
        Kind("job_lists", "bt:mine:T", "record", "ids", job),
        Kind("job_queue", "bt:open", "record", "ids", "until answered"),
        Kind("job_ends", "bt:cancel", "record", "ids", "until ended"),
        Kind("asks", "bt:ask:<key>", "record", "requests", "until answered"),
        Kind("ask_waiters", "bt:wait:<key>", "record", "ids", "until answered"),
        Kind("ask_pools", "bt:pools", "stays", "tenants, headers", "until answered"),
        Kind("ask_pool", "bt:pool:<pool>", "record", "digests", "until answered"),
        Kind("ask_deadlines", "bt:late", "record", "digests", "until answered"),
        Kind("batches", "bt:ship:<nonce>", "stays", "ids, headers", "until answered"),
        Kind("batch_asks", "bt:load:<nonce>", "stays", "digests", "until answered"),
        Kind("batch_queue", "bt:ships", "stays", "ids", "until answered"),
        Kind("webhooks", "bt:hooks", "record", "ids", "until sent"),
        Kind("ledger_outbox", "bt:rows", "record", "rows", "until entered"),
        Kind("job_lease", "bt:lease", "stays", "a number", "seconds"),
        Kind("job_fence", "bt:fence", "stays", "a number", "always"),
        Kind("trials", "trial:T:<rest>", "tenant", "numbers", month),
        Kind("trial_lists", "trials:T", "tenant", "tasks, models", month),
        Kind("trial_alerts", "trialalerts:T", "tenant", "tasks, models", month),
        Kind("gold_sets", "gold:T", "tenant", "an operator's questions", own),
        Kind("gold_runs", "goldrun:T:<rest>", "stays", "tasks", "one slot"),
        Kind("lengths", "len:T:<rest>", "stays", "numbers", month),
        Kind("alert_marks", "al:<id>", "stays", "names of tenants and keys", "one period"),
        Kind("alerts", "all", "stays", "names, numbers", "the last 1,000"),
        Kind("alert_queue", "ald", "stays", "names", "until sent"),
        Kind("alert_outbox", "alm", "stays", "names, numbers", "until sent"),
        Kind("alert_slots", "alt:<slot>", "stays", "a number", "minutes"),
        Kind("ledger_minutes", "lr", "stays", "numbers", "until spilled"),
        Kind(
            "ledger_rows",
            "lr:<minute>",
            "record",
            "money; conversations, tags, tasks",
            "until spilled",
        ),
        Kind("ledger_sizes", "lrz", "stays", "numbers", "until spilled"),
        Kind("ledger_bytes", "lrb", "stays", "a number", "always"),
        Kind("ledger_count", "lrn", "stays", "a number", "always"),
        Kind("ledger_lease", "lrk", "stays", "a number", "minutes"),
        Kind("ledger_sums", "ls:<grain>:<block>:<tenant>", "stays", "money", "400 days"),
        Kind("ledger_tenants", "lt:<block>", "stays", "names of tenants", "400 days"),
        Kind("task_sums", "lk:<day>:<tenant>", "record", "money by task", quarter),
        Kind("task_hour_sums", "lj:<day>:<tenant>", "record", "money by task", "35 days"),
        Kind("tag_sums", "lg:<day>:<tenant>", "record", "money by tag", quarter),
        Kind("conversation_sums", "lc:<day>:<tenant>", "record", "money by digest", quarter),
        Kind("budgets", "bg:<account>", "stays", "money", "the period"),
        Kind("budget_leases", "bl:<tenant>", "stays", "ids", "minutes"),
        Kind("budget_holds", "br:<tenant>", "stays", "money by id", "minutes"),
        Kind("budget_ends", "bs:<id>", "stays", "nothing", "minutes"),
        Kind("rate_buckets", "lb:<bucket>", "stays", "numbers", "minutes"),
        Kind("rate_seats", "lm:<seats>", "stays", "ids", "minutes"),
        Kind("keys", "keys", "stays", "hashes, labels", own),
        Kind("key_uses", "keysused", "stays", "times", own),
        Kind("access", "access", "stays", "a setting", own),
        Kind("secret", "secret", "stays", "the server's secret", "always"),
        Kind("settings", "tenants", "stays", "settings; prompts to be pre-warmed", own),
        Kind("sealing_keys", "sealkeys", "stays", "encrypted keys of tenants", "always"),
        Kind("sealing_changes", "sealgen", "stays", "a number", "always"),
        Kind("schema", "schema", "stays", "a number", "always"),
        Kind("heartbeat", "beats", "stays", "a number", "always"),
        Kind("probe", "probe", "stays", "a number", "a minute"),
        Kind("restoring", "restoring", "stays", "a mark", "a restore"),
        Kind("erasures", "er:todo", "stays", "names or digests", "until the second pass"),
        Kind("erasure_entries", "er:ids:<id>", "stays", "ids", "two hours"),
        Kind("erasure_leases", "er:lease:<id>", "stays", "a mark", "a minute"),
        Kind("erasure_count", "er:count", "stays", "a number", "always"),
        Kind("erasure_log", "er:log:T", "stays", "who, when, counts", "the last 1,000"),
    )


@dataclass(frozen=True)
class Registry:
    """The kinds, looked up by a key."""

    kinds: tuple[Kind, ...] = field(default_factory=_kinds)

    @cached_property
    def _by_literal(self) -> dict[str, list[Kind]]:
        found: dict[str, list[Kind]] = {}
        for kind in sorted(self.kinds, key=lambda kind: -len(kind.key)):
            found.setdefault(kind.literal, []).append(kind)
        return found

    def find(self, key: str) -> tuple[Kind, dict[str, str]] | None:
        """The kind of a key without its prefix, and the key's parts; None for a key not listed."""
        for literal in _literals(key):
            for kind in self._by_literal.get(literal, ()):
                if (parts := kind.parts(key)) is not None:
                    return kind, parts
        return None


def _literals(key: str) -> tuple[str, ...]:
    first, _, rest = key.partition(":")
    second, colon, _ = rest.partition(":")
    return (key, f"{first}:{second}:" if colon else "", f"{first}:")


REGISTRY: Final = Registry()
