"""Registry of all kinds of Redis keys: content, lifetime, and how each is erased.

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

from cacheserver.erasure import server_kinds, vector_set_kinds

# Erased with the `entry` it belongs to; as a `record` that the selector covers; `always`, with
# anything of its tenant, since it is cheap to rebuild; with the `tenant` as a whole; or it `stays`.
How: TypeAlias = Literal["entry", "record", "always", "tenant", "stays"]


@dataclass(frozen=True)
class Kind:
    """One kind of key."""

    name: str  # as an erasure's reply counts it
    package: str  # that writes it
    type: str  # of the value in Redis
    key: str
    how: How
    holds: str
    life: str

    @cached_property
    def literal(self) -> str:
        """Return the literal prefix of such keys."""
        return re.split(r"T|<", self.key, maxsplit=1)[0]

    def parts(self, key: str) -> dict[str, str] | None:
        """Parse a key into its parts, the tenant as `T`; None for a key of another kind."""
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
    answer, day, month = "the TTL of its answer", "a day", "30 days"
    quarter, own = "90 days", "until it is changed"
    job, turns = "as long as the job's results (29 days)", "the tenant's `history.remember_s`"
    return (
        *_of(
            "cache",
            ("answers", "string", "e:<fingerprint>", "entry", "question, answer", answer),
            ("vectors", "string", "v:<fingerprint>", "entry", "the question's vectors", answer),
            ("embedder", "string", "embedder", "stays", "ids of embedders, times", "always"),
            ("embedder_probes", "hash", "embedder:probes", "stays", "vectors of a text", "always"),
            (
                "answer_vectors",
                "string",
                "a:<fingerprint>",
                "entry",
                "the answer's vectors",
                answer,
            ),
            ("answer_marks", "string", "s:<fingerprint>", "entry", "ids", answer),
            ("answer_ids", "hash", "ids", "entry", "ids, tags, digests", answer),
            ("answer_deadlines", "sorted set", "deadlines", "entry", "ids", answer),
            ("answer_worth", "sorted set", "worth", "entry", "ids", answer),
            ("answer_hits", "hash", "hits", "entry", "ids", answer),
            ("answer_sums", "hash", "state", "stays", "numbers", "always"),
            ("groups", "set", "g:<group>", "entry", "ids; names in the key", answer),
            (
                "purges",
                "string",
                "p:<group>",
                "stays",
                "a time; names or digests in the key",
                "two days",
            ),
            ("decisions", "string", "d:T:<id>", "record", "questions, prompts", day),
            ("decisions_recorded", "list", "dp", "record", "questions", "seconds"),
            ("decision_lists", "list", "near:T", "tenant", "ids", day),
            ("decision_queue", "list", "dq", "stays", "ids, names of tenants", day),
            ("decision_rows", "string", "di:T:<hour>", "tenant", "ids, digests, money", day),
            ("decision_hours", "sorted set", "dis", "stays", "names of tenants", day),
            ("decision_bytes", "string", "db", "stays", "numbers", "always"),
            ("journal_batches", "string", "b:<name>", "stays", "nothing", "an hour"),
            ("counts", "hash", "stats", "stays", "numbers", "always"),
            ("tenant_counts", "hash", "stats:<tenant>", "stays", "numbers", "always"),
        ),
        *_of(
            "calibration",
            ("labels", "stream", "labels:T:<scope>", "record", "numbers, ids, names", quarter),
            ("label_windows", "sorted set", "windows:T", "tenant", "digests", quarter),
            ("label_sizes", "hash", "sizes:T", "tenant", "numbers", quarter),
            ("learned", "sorted set", "learned", "stays", "digests of scopes", quarter),
            ("learned_bytes", "hash", "learnedbytes", "stays", "numbers by digest", quarter),
            ("weights", "string", "calib:T:<scope>", "stays", "fitted weights", quarter),
            ("weight_lists", "sorted set", "calibs:T", "stays", "digests", quarter),
            ("evidence", "string", "evid:T:<entry>", "record", "numbers", answer),
            ("group_evidence", "string", "gevid:T:<group>", "tenant", "numbers", month),
            (
                "tombstones",
                "string",
                "tomb:T:<size>:<question>:<entry>",
                "record",
                "digests",
                answer,
            ),
            ("tombstone_lists", "set", "tombs:T:<entry>", "record", "digests", answer),
            ("tombstone_index", "string", "tombsindexed", "stays", "a time", "always"),
            ("spending", "string", "spend:T:<rest>", "stays", "money", "two days"),
            ("reviews", "string", "review:T:<id>", "record", "questions", month),
            ("review_lists", "sorted set", "reviews:T", "tenant", "ids", month),
            ("admin_labels", "hash", "adminlabels:T", "always", "ids, digests, who", month),
            ("admin_label_times", "sorted set", "adminlabeltimes:T", "always", "digests", month),
            ("once", "string", "once:T:<digest>", "tenant", "ids", "a day; 30 days"),
        ),
        *_of("peers", *server_kinds.PEERS),
        *_of(
            "promptcache",
            ("families", "string", "fam:T:<skeleton>", "tenant", "digests, numbers", month),
            ("family_lists", "sorted set", "fams:T", "tenant", "digests", month),
            ("repeats", "string", "famq:T:<request>", "record", "digests", answer),
            (
                "prompt_versions",
                "hash",
                "ver:T:<namespace>:<digest>",
                "record",
                "digests, numbers",
                month,
            ),
            ("version_lists", "sorted set", "vers:T:<namespace>", "record", "digests", month),
            ("version_namespaces", "sorted set", "verns:T", "record", "names", month),
            ("prefixes", "hash", "pc:T:<prefix>", "tenant", "digests, numbers", "two days"),
            ("prefix_lists", "sorted set", "pcs:T", "tenant", "digests", "two days"),
            (
                "prewarm_slots",
                "string",
                "pcw:T:<rest>",
                "stays",
                "names of settings",
                "until the next run",
            ),
            ("prefix_sums", "hash", "pcu:T:<hour>", "stays", "numbers, money", "8 days"),
        ),
        *_of(
            "conversations",
            (
                "turns",
                "list",
                "cvt:T:<size>:<namespace>:<name>",
                "record",
                "questions, answers",
                turns,
            ),
            (
                "turn_sizes",
                "hash",
                "cvt:T:<size>:<namespace>:<name>:size",
                "record",
                "tags, digests",
                turns,
            ),
            ("growth", "list", "cvg:T:<size>:<namespace>:<name>", "record", "numbers", turns),
            ("summaries", "string", "sum:<tenant>:<digest>", "always", "summaries of turns", turns),
            ("grown", "sorted set", "bloat:<tenant>", "tenant", "digests", day),
        ),
        *_of(
            "routing",
            (
                "turn_models",
                "string",
                "cv:<digest>",
                "stays",
                "a model by a digest of turns",
                "an hour",
            ),
        ),
        *_of(
            "batches",
            ("jobs", "hash", "bt:job:<id>", "record", "tags, digests, a webhook's address", job),
            ("job_items", "hash", "bt:in:<id>", "record", "requests", "until answered"),
            ("job_results", "hash", "bt:out:<id>", "record", "answers", job),
            ("job_asks", "hash", "bt:asks:<id>", "record", "digests", "until answered"),
            ("job_erasures", "hash", "bt:gone:<id>", "record", "ids", job),
            ("job_bytes", "hash", "bt:bytes", "stays", "numbers by id or digest", job),
            ("job_ages", "sorted set", "bt:kept", "stays", "ids, digests", job),
            ("job_lists", "sorted set", "bt:mine:T", "record", "ids", job),
            ("job_queue", "sorted set", "bt:open", "record", "ids", "until answered"),
            ("job_ends", "set", "bt:cancel", "record", "ids", "until the job ends"),
            ("asks", "hash", "bt:ask:<key>", "record", "requests", "until answered"),
            ("ask_waiters", "list", "bt:wait:<key>", "record", "ids", "until answered"),
            ("ask_pools", "hash", "bt:pools", "stays", "tenants, headers", "until answered"),
            ("ask_pool", "sorted set", "bt:pool:<pool>", "record", "digests", "until answered"),
            ("ask_deadlines", "sorted set", "bt:late", "record", "digests", "until answered"),
            ("batches", "hash", "bt:ship:<nonce>", "stays", "ids, headers", "until answered"),
            ("batch_asks", "list", "bt:load:<nonce>", "stays", "digests", "until answered"),
            ("batch_queue", "sorted set", "bt:ships", "stays", "ids", "until answered"),
            ("webhooks", "sorted set", "bt:hooks", "record", "ids", "until sent"),
            ("ledger_outbox", "hash", "bt:rows", "record", "rows", "until it is in the ledger"),
            ("job_lease", "string", "bt:lease", "stays", "a random name", "seconds"),
        ),
        *_of(
            "routing",
            ("trials", "hash", "trial:T:<rest>", "tenant", "numbers", month),
            ("trial_lists", "sorted set", "trials:T", "tenant", "tasks, models", month),
            ("trial_alerts", "list", "trialalerts:T", "tenant", "tasks, models", month),
            ("gold_sets", "hash", "gold:T", "tenant", "an operator's questions", own),
            (
                "gold_runs",
                "string",
                "goldrun:T:<rest>",
                "stays",
                "tasks",
                "until the next run",
            ),
        ),
        *_of(
            "verification",
            ("verdicts", "string", "verdict:T:<digest>", "always", "a yes or no", answer),
            ("verdict_audits", "hash", "verify:T:<model>", "tenant", "numbers", "always"),
        ),
        *_of(
            "output_caps",
            ("lengths", "hash", "len:T:<rest>", "stays", "numbers", month),
        ),
        *_of(
            "passthrough",
            ("made", "string", "made:<id>", "record", "ids of files; a tenant", "until gone"),
        ),
        *_of(
            "alerts",
            ("alert_marks", "string", "al:<id>", "stays", "names of tenants, keys", "its period"),
            ("alerts", "list", "all", "stays", "names, numbers", "the last 1,000"),
            ("alert_queue", "sorted set", "ald", "stays", "names", "until sent"),
            ("alert_outbox", "hash", "alm", "stays", "names, numbers", "until sent"),
            ("alert_states", "hash", "alst", "stays", "names, times, reasons", "62 days"),
        ),
        *_of(
            "ledger",
            (
                "ledger_minutes",
                "sorted set",
                "lr",
                "stays",
                "numbers",
                "until it is in a ledger file",
            ),
            (
                "ledger_rows",
                "hash",
                "lr:<minute>",
                "record",
                "money; conversations, tags, tasks",
                "until it is in a ledger file",
            ),
            (
                "ledger_recorded",
                "hash",
                "lp",
                "record",
                "money; conversations, tags, tasks; questions, prompts",
                "seconds",
            ),
            ("ledger_sizes", "hash", "lrz", "stays", "numbers", "until it is in a ledger file"),
            ("ledger_bytes", "string", "lrb", "stays", "a number", "always"),
            ("ledger_count", "string", "lrn", "stays", "a number", "always"),
            ("ledger_sums", "hash", "ls:<grain>:<block>:<tenant>", "stays", "money", "400 days"),
            ("ledger_tenants", "set", "lt:<block>", "stays", "names of tenants", "400 days"),
            ("past_sums_mark", "string", "lpast", "stays", "a random name", "an hour"),
            ("task_sums", "hash", "lk:<day>:<tenant>", "record", "money by task", quarter),
            ("task_hour_sums", "hash", "lj:<day>:<tenant>", "record", "money by task", "35 days"),
            ("tag_sums", "hash", "lg:<day>:<tenant>", "record", "money by tag", quarter),
            (
                "conversation_sums",
                "hash",
                "lc:<day>:<tenant>",
                "record",
                "money by digest",
                quarter,
            ),
        ),
        *_of(
            "budgets",
            ("budgets", "hash", "bg:<account>", "stays", "money", "the budget's period"),
            ("budget_leases", "sorted set", "bl:<tenant>", "stays", "ids", "minutes"),
            ("budget_holds", "hash", "br:<tenant>", "stays", "money by id", "minutes"),
            ("budget_ends", "string", "bs:<id>", "stays", "nothing", "minutes"),
            ("rate_buckets", "hash", "lb:<bucket>", "stays", "numbers", "minutes"),
            ("rate_seats", "sorted set", "lm:<seats>", "stays", "ids", "minutes"),
        ),
        *_of(
            "tenants",
            ("keys", "hash", "keys", "stays", "hashes, labels", own),
            ("key_uses", "hash", "keysused", "stays", "times", own),
            ("access", "string", "access", "stays", "a setting", own),
            ("secret", "string", "secret", "stays", "the server's secret", "always"),
            ("admin_keys", "hash", "adminkeys", "stays", "hashes, names, roles", own),
            ("admin_key_uses", "hash", "adminkeysused", "stays", "times", own),
            ("page_sessions", "string", "adminsession:<digest>", "stays", "digests", "12 hours"),
            ("audit_trail", "stream", "audittrail", "stays", "who, when, what", "the last 10,000"),
            ("tunings", "stream", "audittrail:tune", "stays", "who, when, what", "the last 10,000"),
            ("settings", "hash", "tenants", "stays", "settings; prompts to be pre-warmed", own),
            ("bars", "hash", "bars:T", "stays", "settings, of an earlier version", own),
            ("bar_changes", "stream", "barlog:T", "stays", "settings, who", "the last 10,000"),
        ),
        *_of(
            "sample_traffic",
            ("sample", "string", "sample", "stays", "numbers, times", "until it is removed"),
        ),
        *_of(
            "encryption",
            ("sealing_keys", "hash", "sealkeys", "stays", "encrypted keys of tenants", "always"),
            ("sealing_changes", "string", "sealgen", "stays", "a number", "always"),
        ),
        *_of("storage", *server_kinds.STORAGE),
        *_of(
            "cache",
            ("probe", "string", "probe", "stays", "a number", "a minute"),
            *vector_set_kinds.ROWS,
        ),
        *_of("transfer", ("imports", "hash", "import:T:<id>", "tenant", "files, counts", quarter)),
        *_of("transfer", ("import_lists", "sorted set", "imports:T", "tenant", "ids", quarter)),
        *_of("live", ("live", "hash", "live", "stays", "settings and prices, changed", own)),
        *_of("api", ("canary", "string", "canary", "stays", "a marker", "ten seconds")),
        *_of(
            "erasure",
            ("erasures", "hash", "er:todo", "stays", "names or digests", "until the second pass"),
            ("erasure_entries", "set", "er:ids:<id>", "stays", "ids, digests", "two hours"),
            ("erasure_passes", "string", "er:passed:<id>", "stays", "a number", "ten minutes"),
            ("erasure_count", "string", "er:count", "stays", "a number", "always"),
            ("erasure_log", "stream", "er:log:T", "stays", "who, when, counts", "the last 1,000"),
        ),
    )


def _of(package: str, *rows: tuple[str, str, str, How, str, str]) -> tuple[Kind, ...]:
    return tuple(Kind(row[0], package, *row[1:]) for row in rows)


@dataclass(frozen=True)
class Registry:
    """Lookup of kinds by key."""

    kinds: tuple[Kind, ...] = field(default_factory=_kinds)

    @cached_property
    def _by_literal(self) -> dict[str, list[Kind]]:
        found: dict[str, list[Kind]] = {}
        for kind in sorted(self.kinds, key=lambda kind: -len(kind.key)):
            found.setdefault(kind.literal, []).append(kind)
        return found

    def find(self, key: str) -> tuple[Kind, dict[str, str]] | None:
        """Return the kind and parts of a key without its prefix; None for an unlisted key."""
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
