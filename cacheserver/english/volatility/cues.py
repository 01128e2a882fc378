"""Cues: words that mark a volatile question. Written by hand, fitted to nothing.

A rule is tried only if one of its `words` is in the text, so most texts run no pattern at all.
Patterns see lower-case text with plain apostrophes, and look at most 80 characters ahead: a text
made to slow them costs half a millisecond.

This module holds the cues for time and place; `personal` holds those for the asker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CueKind = Literal["time", "place", "personal"]


@dataclass(frozen=True, slots=True)
class Cue:
    """Rule that assigns `kind` if `pattern` matches and `unless` does not."""

    name: str
    kind: CueKind
    words: frozenset[str]
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None = None


def cue(kind: CueKind, name: str, words: str, pattern: str, unless: str | None = None) -> Cue:
    """Build a rule from its words, separated by spaces, and its patterns."""
    return Cue(
        name=name,
        kind=kind,
        words=frozenset(words.split()),
        pattern=re.compile(pattern),
        unless=re.compile(unless) if unless else None,
    )


_POI = (
    r"(?:atms?|banks?|branch|stores?|shops?|gas|restaurants?|hospitals?|pharmac\w+|walmart|station"
    r"|stops?|airport|hotels?|place|location|dealer\w*|clinic|bar|cafe|gym|office|park|mall|post)\b"
)
PLACE: Sequence[Cue] = (
    cue(
        "place",
        "near-me",
        "near nearby close closest nearest around local vicinity locally",
        r"\bnear(?:est|by)?(?: to)? (?:me|us|here|my)\b|\bnearby\b|\blocally\b"
        r"|\b(?:close|closest) to (?:me|us|here|my|where i)\b|\baround (?:me|here|my)\b"
        r"|\bmy vicinity\b|\b(?:nearest|closest)\b.{0,30}\b"
        + _POI
        + r"|\blocal (?:restaurants?|shops?|stores?|branch|office|weather|news|time|laws?|events?)",
        r"\b(?:nearest|closest)\b.{0,80}\bto (?!me|us|here|my|where)\w",
    ),
    cue(
        "place",
        "here",
        "here",
        r"\b(?:from|over|out|around|near|in|for) here\b|\bhere in\b"
        r"|\b(?:weather|time|hot|cold|raining|snowing|legal|laws?|tax(?:es)?|holiday)\b.{0,20}\bhere\b",
    ),
    cue(
        "place",
        "my-area",
        "area city town neighborhood neighbourhood state country region location county",
        r"\b(?:my|this|our|the) (?:area|neighbou?rhood)(?=\W*$| (?:open|that|with|today|now)\b)"
        r"|\bin (?:my|this|our) (?:area|city|town|state|country|region|county|neighbou?rhood)\b"
        r"|\b(?:my|our) (?:current |present )?location\b",
    ),
    cue(
        "place",
        "where-am-i",
        "where",
        r"\bwhere (?:am i|are we|i am)(?: at| located| now)?\b(?! in)",
    ),
)

# A day in a report of what went wrong ("I paid yesterday and ...") asks nothing about today.
_TALE = (
    r"\b(?:i|we)(?:'ve| have|'m| am)?(?: \w+ly| just)? (?:\w+ed|made|sent|took|got|did|had|was|went"
    r"|bought|paid|saw|lost|tried|put|withdrew|still|not|need|want|cant|can't|cannot|don'?t)\b"
    r"|\bmy\b"
)
_LONG_AGO = r"\b(?:1[0-9]|20)\d\d\b|\bin the (?:\d0|nineteen)"  # a dated question has one answer
_RATE_TALE = (
    r"\b(?:wrong|incorrect\w*|different|bad|appl\w+|charged?|was|were|why|decide\w*|calculat\w+"
    r"|determin\w+|work|method|high|terrible|fees?|right|off|mistake|error"
    r"|correct|come from|figure|same|possible)\b"
)

TIME: Sequence[Cue] = (
    cue(
        "time",
        "today",
        "today today's todays tonight tonight's tomorrow tomorrow's yesterday yesterday's",
        r"\b(?:today|tonight|tomorrow|yesterday)",
        _TALE,
    ),
    cue(
        "time",
        "this-period",
        "week month year season weekend morning afternoon evening quarter semester",
        r"\b(?:this|next|upcoming|coming) (?:week|month|year|season|weekend|morning|afternoon"
        r"|evening|quarter|semester)(?:'?s)?\b|\blast (?:week|weekend|month)\b",
        _TALE,
    ),
    cue(
        "time",
        "now",
        "now moment nowadays days currently presently live",
        r"\b(?:right|as of|until|is|are|happening) now\b"
        r"|\bat (?:the|this) (?:moment|point in time)\b"
        r"|\bnowadays\b|\bthese days\b|\b(?:currently|presently)\b"
        r"|^(?:who|what|which|how|where)\b(?!.{0,80}\bdo now\b).{0,80}\bnow\W*$",
        _TALE,
    ),
    cue(
        "time",
        "current",
        "current",
        r"\bcurrent\b(?! (?:account|flow|density|source|divider|electricity|liabilit|assets?))",
        r"\b(?:alternating|direct|electric(?:al)?|ocean|eddy|dark|rip|induced|leakage|a|of)"
        r" current\b"
        r"|\bmy\b",
    ),
    cue(
        "time",
        "latest",
        "latest newest recent recently trending upcoming headlines headline news breaking",
        r"\b(?:latest|newest|trending|upcoming|headlines?)\b|\bmost recent(?:ly)?\b"
        r"|\b(?:the|any|breaking|some|world|recent) news\b"
        r"|\bnews (?:about|on|from|today|stories)\b",
        r"\bmy\b",
    ),
    cue(
        "time",
        "weather",
        "weather forecast humidity rain raining snow snowing umbrella temperature windy sunny",
        r"\b(?:weather|forecast|humidity|umbrella)\b|\b(?:is|will) it (?:be )?(?:\w+ )?(?:rain|snow"
        r"|wind|sun)|\bchance (?:of|for) (?:rain|snow)"
        r"|\btemperature (?:outside|today|tonight|in \w+\W*$)",
        _LONG_AGO
        + r"|\b(?:cause[sd]?|define|definition|mean|why|oven|spell\w*|word|climate|sales)\b",
    ),
    cue(
        "time",
        "market",
        "stock stocks share shares price prices bitcoin worth nasdaq dow trading crypto",
        r"\b(?:stock|share|gas|gold|silver|oil|petrol|bitcoin|crypto\w*|house|coin) prices?\b"
        r"|\bprices? of (?:gold|silver|oil|gas|petrol|bitcoin|crude|a barrel|ethereum)"
        r"|\bstocks?(?: \w+){0,2} (?:worth|trading|doing|selling|at)\b|\b(?:nasdaq|dow jones)\b"
        r"|\b(?:bitcoin|gold|silver|ethereum) worth\b",
        _LONG_AGO + r"|\b(?:define|definition|what is a|what does)\b",
    ),
    cue(
        "time",
        "exchange-rate",
        "rate rates dollar dollars euro euros pound pounds yen peso pesos usd eur gbp rupees cad",
        r"\b(?:exchange|conversion|interbank) rates?\b|\b(?:mortgage|savings|refinance) rates\b"
        r"|\b(?:usd|dollars?|euros?|eur|gbp|pounds?|yen|pesos?|rupees?|cad|yuan|won)\b"
        r"(?: \w+){0,3}? (?:to|in|into|vs|for|worth in|get in)(?: \w+){0,2}?"
        r" (?:usd|dollars?|euros?|eur|gbp|pounds?|yen|pesos?|rupees?|cad|yuan|won)\b",
        _LONG_AGO + "|" + _RATE_TALE + r"|\b(?:transfer|exchange (?:from|my)|can i|account|top)\b",
    ),
    cue(
        "time",
        "traffic",
        "traffic busy wait delays delayed delay",
        r"\btraffic\b(?! (?:lights?|signs?|tickets?|laws?|school|stops?|violations?|controller))"
        r"|\bhow (?:busy|packed|crowded|full|long is the (?:wait|line))\b|\bwait times?\b",
        r"\b(?:transfer|card|delivery|refund|deposit)s?\b"
        r"|\b(?:drug|human|web|website|network|organic|air) traffic\b|\bmy (?:site|website|blog)\b",
    ),
    cue(
        "time",
        "flight",
        "flight flights train",
        r"\b(?:flight|train)\b.{0,80}\b(?:status|on time|delayed|late|land(?:ing)?|board(?:ing)?"
        r"|depart\w*|arriv\w+|take ?off|cancell?ed)\b|\b(?:status|when)\b.{0,80}\bflight\b",
    ),
    cue(
        "time",
        "score",
        "score scores winning playing game match",
        r"\b(?:the|what|current|final) scores?\b|\bwho(?:'s|s| is) (?:winning|playing|leading)\b"
        r"|\b(?:score|won) (?:of |in )?the (?:game|match)\b",
        _LONG_AGO + r"|\bcredit score|\bhighest score",
    ),
    cue(
        "time",
        "clock",
        "time date day clock year month",
        r"\bwhat(?:'s|s| is)? (?:the )?(?:exact |correct |current )?(?:time|date)(?: is it| it is)?"
        r"(?: (?:in|at|over|for|there|now|please)\b.{0,80})?\W*$"
        r"|\b(?:what|which) (?:time|day|date|year|month)(?: of (?:the )?\w+)? (?:is it|it is)\b"
        r"|\btell me (?:the |what )?(?:time|date)\b"
        r"|\bthe (?:time|date) (?:is )?(?:in|now|please)\b",
        r"\bdate of\b|\bin time\b",
    ),
    cue(
        "time",
        "countdown",
        "next until till old ago left long",
        r"\b(?:when|what|how)\b.{0,80}\bnext (?:\w+ )?(?:holiday|election|game|match|episode"
        r"|eclipse|full moon|train|bus|flight|release|launch|concert|meeting)\b"
        r"|\bhow (?:long|many \w+|much longer)\b.{0,80}\b(?:un)?till?"
        r" (?:christmas|new year|\w+day)\b",
        r"\bmy\b",
    ),
    cue(
        "time",
        "open-hours",
        "open opens close closes closed hours opening closing stock sale",
        r"\b(?:opening|business|closing|office|store|opening and closing) (?:hours|times?)\b"
        r"|\bhours of operation\b|\bwhat time (?:do|does|will)\b.{0,80}\b(?:open|close)s?\b"
        r"|\bis\b[^?]{0,80}\bopen (?:\w+ )?(?:now|late|today|tonight|on \w+day)\b"
        r"|\b(?:still )?in stock\b"
        r"|\bon sale\b|\bhow late\b.{0,80}\bopen\b",
        r"\bmy\b",
    ),
)
