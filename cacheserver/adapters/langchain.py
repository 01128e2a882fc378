"""LangChain's `BaseCache` over a cacheserver, for answers that came from elsewhere.

    from langchain_core.globals import set_llm_cache

    set_llm_cache(CacheServerCache(Client("http://127.0.0.1:8080", key="…")))

Rule: a failure of the cache is a miss, counted in `failures`; the model is asked then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from cacheserver.adapters import generations, prompts
from cacheserver.adapters.prompts import Question
from cacheserver.client import Answer, AsyncClient, Client, ClientError, PutOptions

NAMESPACE = "langchain"  # apart from what is asked through the server, so that `clear` leaves that
# Anybody who may ask can have Claude say what looks like an answer of ours.
_TRUSTED = frozenset({"own", "curated"})

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class CacheServerCache(BaseCache):
    """Cache of LangChain's models. Its key needs the role `write`.

    Answers are shared where prompt and model, with all its parameters, are equal. `semantic`: also
    where the last message alone is worded otherwise, by the server's decision; prompts with tools,
    images or files stay exact. Answers cut short, refused, or made with tools that run at the
    provider are not stored. Without `async_client`, `client` does asynchronous work in a thread.
    """

    def __init__(
        self,
        client: Client,
        *,
        async_client: AsyncClient | None = None,
        semantic: bool = False,
        ttl_s: int | None = None,
        tags: Sequence[str] = (),
        namespace: str = NAMESPACE,
    ) -> None:
        self._client = client
        self._async_client = async_client
        self._semantic = semantic
        self._namespace = namespace
        self._kept: PutOptions = {"namespace": namespace}
        if ttl_s is not None:
            self._kept["ttl_s"] = ttl_s
        if tags:
            self._kept["tags"] = list(tags)
        self.failures = 0  # look-ups and stores that failed

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return the stored generations, or None: also if the server does not answer."""
        asked = self._question(prompt, llm_string)
        try:
            found = self._client.get(asked.text, system=asked.scope, namespace=self._namespace)
        except ClientError as error:
            self._failed("look-up", error)
            return None
        return self._read(found)

    async def alookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return the stored generations, or None: also if the server does not answer."""
        if self._async_client is None:
            return await super().alookup(prompt, llm_string)
        asked = self._question(prompt, llm_string)
        try:
            found = await self._async_client.get(
                asked.text, system=asked.scope, namespace=self._namespace
            )
        except ClientError as error:
            self._failed("look-up", error)
            return None
        return self._read(found)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store what a model said, unless it may not be shared."""
        if (text := self._written(return_val)) is not None:
            asked = self._question(prompt, llm_string)
            try:
                self._client.put(asked.text, text, **self._options(asked))
            except ClientError as error:
                self._failed("store", error)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store what a model said, unless it may not be shared."""
        if self._async_client is None:
            await super().aupdate(prompt, llm_string, return_val)
        elif (text := self._written(return_val)) is not None:
            asked = self._question(prompt, llm_string)
            try:
                await self._async_client.put(asked.text, text, **self._options(asked))
            except ClientError as error:
                self._failed("store", error)

    def clear(self, **kwargs: Any) -> None:
        """Remove all answers of the namespace. Raises `ClientError`: they may be there still."""
        _refuse(kwargs)
        self._client.purge(namespace=self._namespace)

    async def aclear(self, **kwargs: Any) -> None:
        """Remove all answers of the namespace. Raises `ClientError`: they may be there still."""
        if self._async_client is None:
            await super().aclear(**kwargs)
        else:
            _refuse(kwargs)
            await self._async_client.purge(namespace=self._namespace)

    def _question(self, prompt: str, llm_string: str) -> Question:
        return prompts.question(prompt, llm_string, semantic=self._semantic)

    def _options(self, asked: Question) -> PutOptions:
        return {**self._kept, "system": asked.scope}

    def _read(self, found: Answer | None) -> list[Generation] | None:
        if found is None or found.origin not in _TRUSTED:
            return None
        same = found.decision.kind != "semantic"
        return self._tried("look-up", lambda: generations.read(found.text, thoughts=same))

    def _written(self, given: Sequence[Generation]) -> str | None:
        if not generations.shareable(given):
            return None
        return self._tried("store", lambda: generations.write(given))

    def _tried(self, what: str, work: Callable[[], _T]) -> _T | None:
        try:
            return work()
        except (TypeError, ValueError) as error:  # what no JSON holds, or what is no answer of ours
            self._failed(what, error)
            return None

    def _failed(self, what: str, error: Exception) -> None:
        self.failures += 1
        # A `ClientError` names fields and addresses; other errors may quote the answer.
        detail = f": {error}" if isinstance(error, ClientError) else ""
        _log.warning("a cache %s failed (%s%s)", what, type(error).__name__, detail)


def _refuse(unknown: dict[str, Any]) -> None:
    if unknown:
        raise TypeError(f"`clear` has no {', '.join(sorted(map(repr, unknown)))}")
