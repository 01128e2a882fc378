"""Rules of the clouds that serve Claude: names of models, what a request may hold, and premiums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

CloudName: TypeAlias = Literal["bedrock", "vertex"]

# Capabilities that neither cloud has under its Messages API: Message Batches, and what is kept at
# Anthropic (files, skills, agents).
LACKING: Final = ("batches", "passthrough")
CALLED: Final[Mapping[CloudName, str]] = {"bedrock": "Amazon Bedrock", "vertex": "Vertex AI"}
# Each cloud's own, in the body (their Messages API references).
VERSIONS: Final[Mapping[CloudName, str]] = {
    "bedrock": "bedrock-2023-05-31",
    "vertex": "vertex-2023-10-16",
}

# Fields that shape no answer and are for Anthropic's own API: a cloud may refuse them.
LEFT_OUT: Final = (
    *("metadata", "service_tier", "diagnostics", "billing_policy", "fallback_credit_token"),
)

# The releases behind names without a date, where a cloud's name has the date (Anthropic's pages on
# both clouds). Newer models have none.
_RELEASES: Final[Mapping[str, str]] = {
    "claude-haiku-4-5": "20251001",
    "claude-opus-4-1": "20250805",
    "claude-opus-4-5": "20251101",
    "claude-sonnet-4-5": "20250929",
}
_DATED = re.compile(r"(claude-[a-z0-9-]+?)-(20[0-9]{6})")
_BEDROCK_ENDS: Final[Mapping[str, str]] = {"claude-opus-4-6": "-v1"}
# Prices are the same everywhere for models before these (Anthropic's pricing page).
_BEFORE_PREMIUM = re.compile(r"claude-(3|opus-4-1|opus-4-20|sonnet-4-20|opus-4$|sonnet-4$)")


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud that serves Claude, and how models are called there.

    `profile` is Bedrock's inference profile; "none": the region's own. `project` is Google's.
    `models` are names that replace what the rules below would give.
    """

    name: CloudName
    region: str
    profile: str = "global"
    project: str | None = None
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_global(self) -> bool:
        """Return whether a request may be served anywhere, which costs no premium."""
        return (self.profile if self.name == "bedrock" else self.region) == "global"

    def model_id(self, model: str) -> str:
        """Return what a model is called there. A name of the cloud's own stays as it is."""
        if (named := self.models.get(model)) is not None:
            return named
        if not model.startswith("claude-") or "@" in model:
            return model
        dated = _DATED.fullmatch(model)
        base, release = dated.groups() if dated else (model, _RELEASES.get(model))
        if self.name == "vertex":
            return f"{base}@{release}" if release else base
        end = f"-{release}-v1:0" if release else _BEDROCK_ENDS.get(base, "")
        profile = "" if self.profile == "none" else f"{self.profile}."
        return f"{profile}anthropic.{base}{end}"


def has_premium(model: str) -> bool:
    """Return whether a model costs a tenth more where it must stay in a region."""
    return _BEFORE_PREMIUM.match(model) is None


def refusal(cloud: CloudName, body: Mapping[str, Any]) -> str | None:
    """Return why a cloud cannot answer a Messages request; None: it is for the cloud to say."""
    if _names_file(body.get("messages")) or _names_file(body.get("system")):
        return f"{CALLED[cloud]} has no Files API: send the file's content, not its `file_id`"
    if body.get("inference_geo") is not None:
        return f"`inference_geo` is Anthropic's; the server's region at {CALLED[cloud]} holds"
    container = body.get("container")
    if isinstance(container, Mapping) and container.get("skills"):
        return f"{CALLED[cloud]} has no skills"
    return None


def _names_file(turns: Any) -> bool:
    """Return whether a block of a turn, or of a tool's result in one, is a file by its id."""
    waiting = list(turns) if isinstance(turns, list) else []
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        source = one.get("source")
        if one.get("type") == "container_upload" or (
            isinstance(source, Mapping) and source.get("type") == "file"
        ):
            return True
        if isinstance(inner := one.get("content"), list):
            waiting += inner
    return False


def told(status: int, body: Any) -> str | None:
    """Return the message in a cloud's error; None where the body is Anthropic's own shape."""
    found = body if isinstance(body, Mapping) else {}
    error = found.get("error")
    if found.get("type") == "error" and isinstance(error, Mapping):
        return None
    for place in (error if isinstance(error, Mapping) else {}, found):
        for name in ("message", "Message"):
            if isinstance(text := place.get(name), str):
                return text
    return f"the cloud answered {status}"
