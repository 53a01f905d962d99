"""Which words two texts have in common."""

from __future__ import annotations

import re

__all__ = ["shared_words"]

_WORD = re.compile(r"[\w$€£%][\w$€£%.,:/@+-]*[\w$€£%]|\w")
_COMMON = 5


def shared_words(answer: str, source: str) -> list[str]:
    """The longest runs of words that both texts have; single words only when they say something
    (they hold a digit, or are longer than `_COMMON` letters)."""
    words = [(m.group().casefold(), m.start(), m.end()) for m in _WORD.finditer(answer)]
    theirs = [m.group().casefold() for m in _WORD.finditer(source)]
    places: dict[str, list[int]] = {}
    for place, word in enumerate(theirs):
        places.setdefault(word, []).append(place)
    out: list[str] = []
    at = 0
    while at < len(words):
        length = 0
        for place in places.get(words[at][0], ())[:50]:
            n = 1
            while at + n < len(words) and place + n < len(theirs) and words[at + n][0] == theirs[place + n]:
                n += 1
            length = max(length, n)
        if length:
            text = answer[words[at][1] : words[at + length - 1][2]]
            telling = any(ch.isdigit() for ch in text) or len(text) > _COMMON
            if telling and text not in out:
                out.append(text)
        at += max(length, 1)
    return out[:8]
