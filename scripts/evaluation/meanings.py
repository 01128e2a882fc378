"""Which questions of an intent one answer serves: all of them, or only those that ask for the same.

"What is 4 times 9" and "what is 4 times 8" are one intent and two answers: what is asked for stands
in the question. For such intents two rules, and both are reported:

- strict: each text is its own answer, but for case and blanks. Nothing but a repeat is right.
- reworded: two texts have one answer if and only if they have the same words, after dropping what
  only asks ("could you please tell me the"), writing numbers as digits and nouns in the singular.
  Words count in any order ("in french how do i say hello"), but in the order given where the intent
  has a from and a to, or the text two numbers ("a table for 4 at 7"). Another word for the same
  thing ("forecast", "weather") still counts as wrong.

The words dropped are a list of its own here, shared with nothing that decides.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["strict", "reworded"]

# CLINC150's names: the list of its facts, gone on with by name.
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
UNLIKE = frozenset(("oos",))  # no intent at all: each its own answer
DIRECTED = frozenset((
    *("translate", "exchange_rate", "measurement_conversion", "directions", "distance"),
    *("transfer", "book_flight", "calculator", "timezone", "ingredient_substitution"),
))  # fmt: skip

# Asking, courtesy and grammar. Never a number, a time, a place, a "not", a "to" or a "from".
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
    """A name for what `text` asks, equal where one answer serves; `parametric` as found for it."""
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
    """The text but for case and blanks."""
    return " ".join(text.lower().split())


def _content(text: str) -> list[str]:
    plain = _ASKED_TO.sub(r"\1", text.lower().replace("'s ", " "))
    words = [_DIGITS.get(word, word) for word in _WORD.findall(plain)]
    return [_singular(word) for word in words if word not in _DROPPED]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
