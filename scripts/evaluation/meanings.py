"""Labels of right answers for intents whose questions have different answers.

"What is 4 times 9" and "what is 4 times 8" are one intent with two answers. For such intents there
are two rules, and results are reported under both:

- strict: each text has its own answer, apart from case and blanks. Only a repeat is right.
- reworded: two texts have the same answer if and only if they have the same words, after dropping
  polite phrases ("could you please tell me the"), writing numbers as digits and nouns in the
  singular. Word order is ignored ("in french how do i say hello"), except where the intent has a
  from and a to, or the text has two numbers ("a table for 4 at 7"). A synonym ("forecast" for
  "weather") counts as wrong.

The list of dropped words is used here only: no code that decides shares it.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["strict", "reworded"]

# CLINC150 intents whose questions have different answers, because they carry parameters.
_NAMES = (
    *("translate", "weather", "calculator", "exchange_rate", "timer", "definition", "spelling"),
    *("alarm", "reminder_update", "measurement_conversion", "directions", "distance", "traffic"),
    *("nutrition_info", "calories", "recipe", "restaurant_reviews", "restaurant_suggestion"),
    *("restaurant_reservation", "book_flight", "book_hotel", "car_rental", "time", "timezone"),
    *("ingredient_substitution", "ingredients_list", "cook_time", "food_last"),
    *("shopping_list_update", "todo_list_update", "make_call", "text", "transfer"),
    *("calendar_update", "schedule_meeting", "play_music", "update_playlist"),
)  # fmt: skip
PARAMETRIC = frozenset(_NAMES)
UNLIKE = frozenset(("oos",))  # out of scope: each question has its own answer
DIRECTED = frozenset((
    *("translate", "exchange_rate", "measurement_conversion", "directions", "distance"),
    *("transfer", "book_flight", "calculator", "timezone", "ingredient_substitution"),
))  # fmt: skip

# Question words, courtesy and grammar. No number, time, place, "not", "to" or "from".
_ASKING = """
a an the is are was were be do does did can could would will should shall may might must
i me my you your we us our it its there this that which what whats how hows
please kindly
tell show give let know want wanna need like look find get wondering wonder see help assist
just also so then of for about some any
"""
_DROPPED = frozenset(_ASKING.split())
_ASKED_TO = re.compile(r"\b(want|need|like|how|you|me|us) to\b")  # a "to" with no place or person
_WORD = re.compile(r"\d+(?:[.:,]\d+)*|[^\W\d_]+|[$€£%+*/-]")
_SPELLED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty
"""
_DIGITS = {word: str(number) for number, word in enumerate(_SPELLED.split())}


def meaning(text: str, intent: str, *, parametric: bool, rule: Rule) -> str:
    """Return a key that is equal for texts with the same answer."""
    if intent in UNLIKE:
        return f"{intent}: {folded(text)}"
    if not parametric:
        return intent
    if rule == "strict":
        return f"{intent}: {folded(text)}"
    words = _content(text)
    ordered = intent in DIRECTED or sum(word[0].isdigit() for word in words) > 1
    kept = words if ordered else sorted(set(words))
    return f"{intent}: {' '.join(kept)}" if kept else intent


def folded(text: str) -> str:
    """Normalise case and blanks."""
    return " ".join(text.lower().split())


def _content(text: str) -> list[str]:
    plain = _ASKED_TO.sub(r"\1", text.lower().replace("'s ", " "))
    words = [_DIGITS.get(word, word) for word in _WORD.findall(plain)]
    return [_singular(word) for word in words if word not in _DROPPED]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
