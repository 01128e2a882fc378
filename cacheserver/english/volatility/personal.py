"""Cues of questions about the asker's own data.

"My" alone is never personal: a support desk's customers ask "how do I reset my password" and "my
card does not work", and one answer serves them all. A question is personal if it asks for the
*state* of the asker's own data: where it is, how much it is, whether it has happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.english.volatility.cues import Cue, cue

# Questions for a method, a possibility or a cause have the same answer for every asker.
_GENERIC = r"\bhow (?:do|does|can|could|should|would|to|come|long)\b|\b(?:can|could|may|should) i\b"
_GENERIC += r"|\bwhere (?:do|can|could|would|should) i\b|\b(?:steps|ways?) to\b|\bwhy\b"

# Records that a company has about one customer. Not "card": a bank's most generic questions name
# it.
_THING = (
    r"(?:orders?|package|parcel|delivery|shipment|refund|payment|transfer|deposit|paycheck|claim"
    r"|application|request|reservation|booking|appointment|flight|luggage|baggage|suitcase|bill"
    r"|invoice|vacation|pto|meeting|purchase|prescription|top-?up)s?\b"
)
_FIGURE = (
    r"(?:balances?|(?:credit|spending) limit|available credit|credit (?:score|rating)|orders?"
    r"|order status|transactions?|purchases|bills?|minimum payment|due date|paychecks?|salary"
    r"|income|points|rewards|miles|vacation|pto|insurance|plan|calendar|schedule|agenda"
    r"|appointments?|meetings?|reminders?|list|to ?-?do|todos|tax rate|interest rate|apr"
    r"|tire pressure|mpg|name|pay ?day|spending|expenses|grades?|test results?)\b"
)
_HELD = r"(?:accounts?|cards?|visa|mastercard|amex|discover|savings|checking|bank|bill|rewards)\b"
_CHANGE = (
    _GENERIC + r"|n't\b|\bnot\b|\b(?:change|update|increase|raise|improve|lower|cancel|close|add"
    r"|remove|delete|clear|put|switch)\b"
)
_HAPPENED = (
    r"(?:ship|arriv|deliver|approv|go(?:ne)? through|went through|clear|post|process|receiv|due\b"
    r"|confirm|on time|delay|late\b|on (?:its|the) way|ready|here\b|com(?:e|ing)\b|cancel"
    r"|show(?:n|ed)? up|paid|schedul|book|land|depart|tak(?:e|ing) off|board|denied|accepted)"
)

PERSONAL: Sequence[Cue] = (
    cue(
        "personal",
        "where-is-my",
        "where where's wheres",
        r"\bwhere(?:'s|s| is| are) my (?:[\w'-]+ ){0,2}?"
        r"(?:" + _THING + r"|(?:money|phone|card|cash|car|keys|bags?)\b)(?! (?:number|pin|code))",
    ),
    cue(
        "personal",
        "what-is-my",
        "what what's whats how how's tell show give check know read display list pull see look view"
        " hear find",
        r"\b(?:what(?:'s|s| is| are| was| were)|how(?:'s|s| is| are)|tell|show|give|check|know|read"
        r"|display|list|pull up|see|look (?:at|up)|view|hear|find out)\b"
        r"(?: [\w'-]+){0,5}? my (?:[\w'-]+ ){0,4}?" + _FIGURE,
        _CHANGE,
    ),
    cue(
        "personal",
        "figure-of-my",
        "my",
        r"\b"
        + _FIGURE
        + r" (?:of|in|on|for|with|from) my (?:[\w'-]+ ){0,4}?"
        + _HELD
        + r"|\b(?:how much|what)(?:'s| is| are)?(?: [\w'-]+){0,3}? in my (?:[\w'-]+ ){0,3}?account",
        _CHANGE,
    ),
    cue(
        "personal",
        "status-of-my",
        "status track locate find update progress",
        r"\b(?:status|update|progress) (?:of|on|for|with) my "
        + r"(?:[\w'-]+ ){0,3}?"
        + _THING
        + r"|\b(?:track|locate|find) my (?:[\w'-]+ ){0,2}?"
        + _THING,
        _CHANGE,
    ),
    cue(
        "personal",
        "how-much-have-i",
        "i",
        r"\bhow (?:much|many|few)\b(?: [\w'/-]+){0,6}? (?:do i (?:currently |still )?"
        r"(?:have|owe|make|earn)|(?:did|have|had) i (?:\w+ )?"
        r"(?:spend|spent|pay|paid|use|used|take|taken|earn|earned|make|made|buy|bought|got|left))"
        r"\b(?! to\b)|\b(?:what|how (?:many|much)|number|amount|total)\b.{0,80}"
        r"\bi(?:'ve| have) (?:\w+ )?"
        r"(?:left|spent|used|taken|earned|accrued|remaining|saved)\b"
        r"|\b(?:days?|pto|points|miles|money) (?:do )?i have\b(?! to\b)",
        r"\bwhy\b",
    ),
    cue(
        "personal",
        "has-my",
        "did has have is was are were will when when's whens check see know",
        r"\b(?:did|has|have|is|was|are|were|will|when'?s|if|whether)\b(?: the)? my "
        r"(?:[\w'-]+ ){0,3}?" + _THING + r"(?: [\w'-]+){0,5}? " + _HAPPENED,
        r"\bwhy\b|\bhow (?:do|can|to)\b|\bif my\b.{0,80}\b(?:what|can|will|do)\b",
    ),
    cue(
        "personal",
        "do-i-have",
        "i",
        r"\bdo i (?:still |currently |already )?(?:have|owe)\b(?! to\b).{0,80}\b(?:meetings?"
        r"|appointments?|reservations?|reminders?|balance|money|funds|points|rewards|vacation|pto"
        r"|days off|credit|calendar|schedule|list|account|bills?)\b|\bam i (?:still )?"
        r"(?:booked|reserved|scheduled|enrolled|registered|covered|approved|overdrawn|owed)\b"
        r"|\bwhen (?:do|will|did) i (?:next )?get paid\b"
        r"|\bwhat (?:do|did) i (?:owe|order|buy|spend)\b"
        r"|\bwhat(?:'s| is) on my\b|\bwhen(?:'s|s| is| are| was)? my (?:[\w'-]+ ){0,4}?due\b",
        r"\bwhy\b",
    ),
    cue(
        "personal",
        "on-my-list",
        "calendar schedule list agenda reminders todo",
        r"^(?:is|are|do|does|did|have|what|which|when|tell|let|can you tell|please)\b.{0,80}\b(?:on"
        r"|in|from|to) my (?:[\w'-]+ ){0,2}?(?:calendar|schedule|list|agenda|reminders|to-?do)\b",
        r"\b(?:add|put (?!on)|remove|delete|clear|create|make) ",
    ),
    cue(
        "personal",
        "identifier",
        "order invoice case ticket tracking booking reservation confirmation account reference"
        " claim customer policy member membership",
        r"\b(?:order|invoice|case|ticket|tracking|booking|reservation|confirmation|account"
        r"|reference|claim|customer|policy|member(?:ship)?)(?: (?:number|no|id|code|ref))?"
        r"(?: is)?[ .:#]{1,3}(?=[a-z-]{0,6}\d)[a-z0-9-]{5,}",
    ),
    cue("personal", "address", "my me i i'm", r"@[\w-]+\.\w"),  # an e-mail address beside "my"
)
