"""Fields that select entries: in the query string of a list, in the body of a purge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cacheserver.api.components import Components
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState
from cacheserver.cache.controls import stored_tag
from cacheserver.cache.declared import declarations
from cacheserver.cache.store.entry_search import EntryFilter, Withheld
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.rules.bounds import CONTEXT, NAME, SCOPE, Bound
from cacheserver.core.types import Tenant

M = TypeVar("M", bound=BaseModel)

_ID = re.compile(r"[0-9a-f]{32}")
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")
_TEN_YEARS_S = 10 * 365 * 86_400

Count = Annotated[int, Bound(least=0, most=2**53)]
Age = Annotated[float, Bound(least=0, most=_TEN_YEARS_S)]


class Conditions(BaseModel):
    """Conditions on entries, all of which must hold."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    namespace: Annotated[str, NAME] | None = Field(None, description="Namespace of the entries.")
    tag: str | None = Field(None, description="A tag that they have.")
    context: Annotated[str, CONTEXT] | None = Field(
        None, description="A context key of declared questions."
    )
    scope: Annotated[str, SCOPE] | None = Field(None, description="Scope of their questions.")
    model: Annotated[str, Bound(least=1, most=128)] | None = Field(
        None, description="The model that answered."
    )
    text: Annotated[str, Bound(least=1, most=1_000)] | None = Field(
        None, description="A part of the question, in upper or lower case."
    )
    older_than_s: Age | None = Field(None, description="Created more than so many seconds ago.")
    newer_than_s: Age | None = Field(None, description="Created at most so many seconds ago.")
    hits_min: Count | None = Field(None, description="Least number of hits served.")
    hits_max: Count | None = Field(None, description="Most hits served; 0: it served none.")
    pinned: bool | None = Field(None, description="Pinned by an operator, or not.")

    def filter(self, tenant: str | None, now: float) -> EntryFilter:
        """Return the conditions as the store knows them. Raises `BadRequest`."""
        tag = None if self.tag is None else stored_tag("tag", self.tag)
        if self.context is not None:
            if tag is not None:
                raise BadRequest("context", "is a tag of its own: give it or `tag`")
            tag = declarations.context_tag(self.context)
        return EntryFilter(
            tenant=tenant,
            namespace=self.namespace,
            tag=tag,
            scope=self.scope,
            model=self.model,
            text=self.text,
            created_from=None if self.newer_than_s is None else now - self.newer_than_s,
            created_to=None if self.older_than_s is None else now - self.older_than_s,
            hits_min=self.hits_min,
            hits_max=self.hits_max,
            pinned=self.pinned,
        )


class Page(BaseModel):
    """A page of a list."""

    limit: Annotated[int, Bound(least=1, most=200)] = Field(50, description="Entries of a page.")
    cursor: str | None = Field(None, description="The `next` of the page before.")

    @property
    def before(self) -> str | None:
        """Return the id at which the page before ended. Raises `BadRequest`."""
        if self.cursor is not None and not _ID.fullmatch(self.cursor):
            raise BadRequest("cursor", "must be the `next` of the page before")
        return self.cursor


class OwnEntries(Conditions, Page):
    """A page of a tenant's own entries."""


class AllEntries(Conditions, Page):
    """A page of the entries of all tenants, or of one."""

    tenant: str | None = Field(None, description="Name of a tenant; absent: all of them.")


def read_query(model: type[M], given: Mapping[str, str]) -> M:
    """Read a query string. Raises `BadRequest` naming the parameter."""
    return _read(model, given, lambda: model.model_validate_strings(dict(given)))


def read_body(model: type[M], given: Mapping[str, Any]) -> M:
    """Read a JSON object. Raises `BadRequest` naming the field."""
    return _read(model, given, lambda: model.model_validate(given, strict=True))


def _read(model: type[M], given: Mapping[str, Any], read: Any) -> M:
    known = model.model_fields.keys()
    if unknown := given.keys() - known:
        raise Unknown(min(unknown)[:64], "field", min(unknown), known)
    try:
        found: M = read()
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:1]) or "body"
        raise BadRequest(where, first["msg"].removeprefix("Value error, ")) from None
    return found


def parameters(model: type[BaseModel]) -> dict[str, Any]:
    """Return the query parameters of a list, as OpenAPI has them."""
    described = model.model_json_schema()["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "description": one.pop("description"), "schema": one}
            for name, one in described.items()
        ]
    }


async def named_tenant(state: AppState, name: object) -> Tenant:
    """Return a tenant that exists, also one inside of it that a caller's own key names.

    Raises `BadRequest`, and `Unavailable` where its settings cannot be read.
    """
    if isinstance(name, str) and "@" in name:
        configured, _, pseudonym = name.partition("@")
        if _PSEUDONYM.fullmatch(pseudonym):
            return replace(await tenant_of(state, configured), name=name)
    return await tenant_of(state, name)


def withheld_of(parts: Components) -> Withheld:
    """Return what tells whether a tenant keeps no content, so that no text of it is shown."""

    async def withheld(tenant: str) -> bool:
        return (await parts.tenants.get(tenant.partition("@")[0])).no_content

    return withheld
