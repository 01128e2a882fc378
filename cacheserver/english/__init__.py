"""Word rules of English: vetoes between questions, canonical forms, cues of volatile questions.

Promises: pure, and bound to `matching.language.Language`; a difference is ignored only if a rule
lists it.
Called by `bootstrap`, which plugs `language.english()` in, and by the replay of logs.
"""
