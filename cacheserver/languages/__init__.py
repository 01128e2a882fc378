"""Languages: the word rules of English, and what can be compared in any other language.

Promises: rules of English never read a text of another language; questions in two languages are
never compared.
Called by `bootstrap`, which plugs `rules.languages()` in, and by the replay of logs.
"""
