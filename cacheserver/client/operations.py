"""Calls of a tenant beside questions: money, decisions, stored answers, conversations, feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from cacheserver.client import http
from cacheserver.client.calls import Call, Calls, Object, Text, path, with_query
from cacheserver.client.filters import DecisionFilters, EntryFilters, conditions
from cacheserver.client.types import Erasure


class Report(TypedDict, total=False):
    """Parameters of a usage report. Times are ISO 8601 or Unix seconds."""

    start: str | float  # 30 days ago, where it is left out
    end: str | float
    group_by: Sequence[str]  # up to three of "key", "model", "cause" or "decision", and one of
    # "minute", "hour", "day"; or "task" or "tag" alone
    cause: Sequence[str]  # those shown, where grouped by them
    decision: Sequence[str]
    key: str  # only this key's, by its id
    model: str
    tenant: str  # with the admin key: only this one's
    target_usd: str | float  # what a call and a conversation may cost
    wrong_hit_usd: str | float  # what a wrong answer costs


class Operations(Calls[Object, Text]):
    """Calls of a tenant beside questions. Each returns the JSON object that the server sends."""

    def stats(self) -> Object:
        """Return the requests, hits, cost and savings of this key's tenant."""
        return self._ask(http.stats())

    def usage(self, **parameters: Unpack[Report]) -> Object:
        """Return tokens, cost and savings between two times. See `Report`."""
        return self._ask(http.usage(**parameters))

    def overview(self) -> Object:
        """Return money and hits at a glance."""
        return self._get("/v1/overview")

    def budget(self) -> Object:
        """Return what was spent of each budget, and what is left."""
        return self._get("/v1/budget")

    def prices(self, *, at: str | float | None = None) -> Object:
        """Return what each model costs, now or at a time."""
        return self._get("/v1/prices", at=at)

    def estimate(self, plan: Mapping[str, Any]) -> Object:
        """Return what a Messages body, `requests` of a batch, or a planned workload will cost."""
        return self._compute("/v1/estimate", plan)

    def lint(self, request: Mapping[str, Any], *, requests_a_day: int | None = None) -> Object:
        """Return findings about wasted tokens in a Messages body. Claude is asked nothing."""
        return self._compute(with_query("/v1/lint", {"requests_a_day": requests_a_day}), request)

    def count_tokens(self, request: Mapping[str, Any]) -> Object:
        """Return how many tokens a Messages body has, as Claude counts them."""
        return self._compute("/v1/messages/count_tokens", request)

    def models(self) -> Object:
        """Return Claude's models."""
        return self._get("/v1/models")

    def model(self, id: str) -> Object:
        """Return a model."""
        return self._get(path("/v1/models", id))

    def feedback(
        self,
        verdict: Literal["good", "bad"],
        *,
        decision_id: str | None = None,
        entry_id: str | None = None,
    ) -> Object:
        """Say that an answer was good or bad, by the id of its decision or of its entry."""
        ids = {"decision_id": decision_id, "entry_id": entry_id}
        given = {name: id for name, id in ids.items() if id is not None}
        if len(given) != 1:
            raise ValueError("give either `decision_id` or `entry_id`")
        return self._post("/v1/feedback", {"verdict": verdict, **given})

    def decision(self, id: str) -> Object:
        """Return a decision's record, kept for a day. Raises `NotFoundError` after that."""
        return self._get(path("/v1/decisions", id))

    def decisions(self, **filters: Unpack[DecisionFilters]) -> Object:
        """Return a page of the decisions of the last day. See `DecisionFilters`."""
        return self._get("/v1/decisions", **conditions("decisions", filters, DecisionFilters))

    def entry(self, id: str) -> Object:
        """Return all of a stored answer. Raises `NotFoundError` if it is gone."""
        return self._get(path("/v1/entries", id))

    def entries(self, **filters: Unpack[EntryFilters]) -> Object:
        """Return a page of stored answers, the newest first. See `EntryFilters`."""
        return self._get("/v1/entries", **conditions("entries", filters, EntryFilters))

    def conversation(self, name: str, *, namespace: str | None = None) -> Object:
        """Return the turns of a conversation."""
        return self._get(path("/v1/conversations", name), namespace=namespace)

    def forget_conversation(self, name: str, *, namespace: str | None = None) -> Object:
        """Remove the turns of a conversation."""
        where = path("/v1/conversations", name)
        return self._delete(with_query(where, {"namespace": namespace}))

    def erase(self, *, of: str | None = None, **selector: Unpack[Erasure]) -> Object:
        """Erase every trace of what one of these names; what was removed where, and what not.

        `of`: with the admin key, the tenant whose it is.
        """
        return self._ask(http.erase(of=of, **selector))

    def delete_tenant(self, name: str, *, confirm: str) -> Object:
        """Delete a tenant with its keys, content and settings; `confirm` is its name once more.

        Needs an admin key with the role `all`.
        """
        return self._ask(http.delete_tenant(name, confirm))

    def webhook_secret(self) -> Object:
        """Return what your webhooks are signed with."""
        return self._get("/v1/webhooks/secret")

    def batch_eligible(self) -> Object:
        """Return traffic that could have waited, for half the price: a list in `items`."""
        return self._get("/v1/batch-eligible")

    def ready(self, *, similarity: bool | None = None) -> Object:
        """Return that the store answers and a miss may be asked; else raise `UpstreamFailed`.

        `similarity`: similar questions too can be answered. Needs no key.
        """
        return self._get("/readyz", similarity=similarity)

    def health(self) -> Object:
        """Return that the process answers. Needs no key."""
        return self._get("/healthz")


class BatchCalls(Calls[Object, Text]):
    """Message Batches, as Anthropic's API has them, each item through the cache."""

    def create(self, requests: Sequence[Mapping[str, Any]], **options: Any) -> Object:
        """Send a batch: each request has a `custom_id` and `params`, a Messages body.

        `options` are fields of Anthropic's, which are sent as they are.
        """
        return self._post("/v1/messages/batches", {"requests": list(requests), **options})

    def list(
        self,
        *,
        limit: int | None = None,
        after_id: str | None = None,
        before_id: str | None = None,
    ) -> Object:
        """Return a page of your batches, the newest first."""
        pages = {"limit": limit, "after_id": after_id, "before_id": before_id}
        return self._get("/v1/messages/batches", **pages)

    def show(self, id: str) -> Object:
        """Return a batch: its `processing_status` and `request_counts`."""
        return self._get(path("/v1/messages/batches", id))

    def cancel(self, id: str) -> Object:
        """Cancel a batch. Answers that Claude has begun may still arrive."""
        return self._post(path("/v1/messages/batches", id, "cancel"))

    def remove(self, id: str) -> Object:
        """Delete a batch that has ended, with its results."""
        return self._delete(path("/v1/messages/batches", id))


def batch_results(id: str) -> Call:
    """Build the call for the results of a batch, a JSON line each."""
    return Call("GET", path("/v1/messages/batches", id, "results"))


def ledger_rows(
    format: Literal["csv", "jsonl", "parquet"],
    start: str | float | None,
    end: str | float | None,
    tenant: str | None,
) -> Call:
    """Build the call for an export of the ledger."""
    parameters = {"format": format, "from": start, "to": end, "tenant": tenant}
    return Call("GET", with_query("/v1/usage/export", parameters))
