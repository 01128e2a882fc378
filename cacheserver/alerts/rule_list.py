"""The kinds of alerts: when each is raised, and which settings decide. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A kind of alerts. `settings` are paths in a tenant's settings; without any it is fixed."""

    kind: str
    raised: str
    settings: tuple[str, ...] = ()


_ALERTS: Final = "budgets.alerts"

RULES: Final[tuple[RuleInfo, ...]] = (
    RuleInfo("budget-near", "A budget is used to this share.", ("budgets.alert_at",)),
    RuleInfo("budget-forecast", "A budget will be used to this share.", ("budgets.alert_at",)),
    RuleInfo("budget-reached", "A budget is used up."),
    RuleInfo(
        "spend",
        "An hour costs so many times the usual, and at least so many dollars.",
        (f"{_ALERTS}.spend_times", f"{_ALERTS}.spend_least_usd"),
    ),
    RuleInfo("output-length", "Answers are so many times as long.", (f"{_ALERTS}.output_times",)),
    RuleInfo(
        "cache-writes",
        "This share of prompt tokens is written to Claude's cache and not read.",
        (f"{_ALERTS}.write_share",),
    ),
    RuleInfo(
        "cache-reads",
        "A smaller share of prompt tokens is read from Claude's cache.",
        ("caching.read_ratio_alert",),
    ),
    RuleInfo(
        "hit-rate", "The hit rate falls to this share of its usual.", (f"{_ALERTS}.hit_rate_left",)
    ),
    RuleInfo("errors", "This share of requests fails.", (f"{_ALERTS}.error_share",)),
    RuleInfo(
        "unsupported",
        "This share of questions is unlike all that was learned of, and so many times the usual.",
        (f"{_ALERTS}.unsupported_share", f"{_ALERTS}.unsupported_times"),
    ),
    RuleInfo("wrong-hits", "More similar hits are wrong than the target allows.", ("bar.target",)),
    RuleInfo("verification-off", "Audits have switched verification off.", ("verify.mode",)),
    RuleInfo(
        "verification-drift", "The verifying model says yes more or less often.", ("verify.mode",)
    ),
    RuleInfo("unpriced", "A model has no price."),
    RuleInfo("downshift", "A cheaper model no longer agrees with the dearer one."),
    RuleInfo("conversation", "A conversation has grown to four times its first prompt."),
    RuleInfo("upstream", "Claude fails and is not asked for a while."),
    RuleInfo("store-lost", "The store has lost data."),
    RuleInfo("store-disk", "The store's disk is slow or fails."),
    RuleInfo("ledger-disk", "Rows of the ledger cannot be written to their files."),
    RuleInfo("digest", "A week is over.", (f"{_ALERTS}.digest",)),
)
KINDS: Final = frozenset(rule.kind for rule in RULES)


def rules_as_json(settings: Mapping[str, Any], own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rules with the values in force, and whether each is the tenant's own."""
    return [
        {
            "kind": rule.kind,
            "raised": rule.raised,
            "settings": [
                {
                    "path": path,
                    "value": _at(settings, path),
                    "origin": "default" if _at(own, path) is None else "own",
                }
                for path in rule.settings
            ],
        }
        for rule in RULES
    ]


def _at(settings: Any, path: str) -> Any:
    for name in path.split("."):
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings
