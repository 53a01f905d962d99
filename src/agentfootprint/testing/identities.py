"""Hypothesis strategies of identities that break stores which build keys carelessly.

    from hypothesis import given
    from agentfootprint.testing.identities import different_identities

    @given(different_identities())
    def test_keys_differ(pair):
        first, second = pair
        assert my_key(first) != my_key(second)

Needs the extra: pip install 'agentfootprint[testing]'.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

from ..errors import IdentityInvalid, MissingExtra
from ..identity import MAX_PART_BYTES, MemoryIdentity, check_part

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError:
    raise MissingExtra("agentfootprint.testing's conformance kits", "testing") from None

__all__ = [
    "FAMILY",
    "HOSTILE_PAIRS",
    "HOSTILE_PARTS",
    "descends",
    "different_identities",
    "different_keys",
    "identities",
    "invalid_parts",
    "parts",
]

HOSTILE_PARTS = (
    *("", "a", "A", "b", "ab", "a1", "~", "~~~", "None", "null", "0"),
    *("a/b", "a|b", "a:b", "a,b", "a#b", "a.b", "a-b", "/", "|", ":", "::", "a:", ":a", "a/", "/a", "../a"),
    *("%", "_", "a%", "a_", "%%", "*", "?", "a*", "a?", "[ab]", "{a,b}", "{a}", "\\", "a\\%", "^a$", ".*"),
    *("a%2Fb", "a=2Fb", "%00", "=7E", "a'b", 'a"b', "'; --", "a b", "a ", " a", "a\t", "a\n", "$a", "@", "&"),
    *("\u00e9", "e\u0301", "\u00c5", "\u212b", "A\u030a", "\ufb01", "fi", "ß", "ss", "\u0130", "i\u0307"),
    *("\u0131", "\uff41", "a\u200b", "a\ufeff", "🦊", "👩\u200d💻", "\ud7ff", "\uffff", "\U0010ffff"),
    *("a" * MAX_PART_BYTES, "a" * (MAX_PART_BYTES - 1) + "b", "\u00e9" * (MAX_PART_BYTES // 2)),
)
"""Parts of identities that some store somewhere reads as a separator, a wildcard or something equal."""

_SEPARATORS = ("/", "|", ":", ",", "#", "~", ".", "-", "_", " ", "::", "\t")
_I = MemoryIdentity

HOSTILE_PAIRS = (
    *((_I(f"a{s}b", "c"), _I("a", f"b{s}c")) for s in _SEPARATORS),
    *((_I("a", f"b{s}c"), _I("a", "b", "c")) for s in _SEPARATORS),
    *((_I("a"), _I(f"a{s}b")) for s in _SEPARATORS),
    *(
        (_I("a", "b", "t-1"), _I("a", "b", other))
        for other in ("t-10", "t-", "t_1", "t%", "t-?", "t-*", "T-1")
    ),
    *(
        (_I("a"), _I(other))
        for other in ("A", "a ", " a", "ab", "%", "_", "*", "?", "[a]", "{a}", "a%", "a*", "")
    ),
    (_I("a", "b"), _I("a", "b", "c")),
    (_I("a", "b"), _I("a")),
    (_I("a"), _I("a", "")),
    (_I("a", None, "c"), _I("a", "", "c")),
    (_I("a", None, "c"), _I("a", "c")),
    (_I("a", None, "c"), _I("a", "~", "c")),
    (_I(), _I("")),
    (_I(), _I("~")),
    (_I(), _I("a")),
    (_I(), _I(None, "a")),
    (_I("", "a"), _I("a", "")),
    (_I(None, "a"), _I("a")),
    (_I("a/b"), _I("a%2Fb")),
    (_I("a/b"), _I("a=2Fb")),
    (_I("\u00e9"), _I("e\u0301")),
    (_I("ß"), _I("ss")),
    (_I("a"), _I("a\u200b")),
)
"""Pairs of different identities that some store somewhere confuses."""

FAMILY = tuple(dict.fromkeys(identity for pair in HOSTILE_PAIRS for identity in pair))
"""The identities of those pairs: parents, children and strangers that look like them."""


def parts() -> SearchStrategy[str]:
    """Valid parts of an identity, hostile ones first."""
    crowded = st.text(alphabet="ab/|:,~%_*?[]{}=\\ '\"é\u0301", max_size=5)
    anything = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
    return st.one_of(st.sampled_from(HOSTILE_PARTS), crowded, anything).filter(_is_valid)


def identities() -> SearchStrategy[MemoryIdentity]:
    """Any identity, with absent parts anywhere."""
    part = st.one_of(st.none(), parts())
    return st.builds(MemoryIdentity, part, part, part)


@st.composite
def different_identities(draw: st.DrawFn) -> tuple[MemoryIdentity, MemoryIdentity]:
    """Two different identities, mostly ones that look alike: shifted separators, other case, other
    Unicode form, a wildcard for a character, parent and child, empty for absent."""
    kind = draw(st.sampled_from(("known", "alike", "any")))
    if kind == "known":
        pair = draw(st.sampled_from(HOSTILE_PAIRS))
    else:
        first = draw(identities())
        alike = sorted(_look_alikes(first), key=repr) if kind == "alike" else []
        second = draw(st.sampled_from(alike) if alike else identities().filter(lambda other: other != first))
        pair = (first, second)
    return pair if draw(st.booleans()) else (pair[1], pair[0])


def different_keys() -> SearchStrategy[tuple[tuple[str, str], tuple[str, str]]]:
    """Two different pairs of a kind and a name, for keys of one identity."""
    key = st.tuples(parts().filter(bool), parts())
    shifted = st.tuples(parts().filter(bool), st.sampled_from(_SEPARATORS), parts(), parts()).map(
        lambda drawn: ((drawn[0], "".join(drawn[1:])), ("".join(drawn[:3]), drawn[3]))
    )
    pairs = st.one_of(st.tuples(key, key), shifted)
    return pairs.filter(
        lambda pair: pair[0] != pair[1] and all(_is_valid(part) for key in pair for part in key)
    )


def invalid_parts() -> SearchStrategy[str]:
    """Parts that must be refused: a NUL, a lone surrogate, or more than 256 bytes of UTF-8."""
    short = st.text(max_size=5)
    bad = st.one_of(st.just("\x00"), st.characters(categories=["Cs"]))
    long = st.integers(MAX_PART_BYTES // 2 + 1, MAX_PART_BYTES * 2).map(lambda size: "\u00e9" * size)
    return st.one_of(st.tuples(short, bad, short).map("".join), long)


def descends(identity: MemoryIdentity, ancestor: MemoryIdentity) -> bool:
    """Whether `forget(ancestor, descendants=True)` must reach `identity`: said by parts, so that it
    can judge the encoding of them."""
    named = list(ancestor.parts)
    while len(named) > 1 and named[-1] is None:
        named.pop()
    return identity.parts[: len(named)] == tuple(named)


def _look_alikes(identity: MemoryIdentity) -> set[MemoryIdentity]:
    found = set()
    for index, part in enumerate(identity.parts):
        for other in _variants(part):
            if other is None or _is_valid(other):
                changed = list(identity.parts)
                changed[index] = other
                found.add(MemoryIdentity(*changed))
    tenant, principal, conversation = identity.parts
    for separator in _SEPARATORS:
        joined = separator.join((tenant or "", principal or ""))
        if _is_valid(joined):
            found |= {MemoryIdentity(joined, conversation), MemoryIdentity(joined, None, conversation)}
    found |= {MemoryIdentity(tenant), MemoryIdentity(tenant, principal), MemoryIdentity(principal, tenant)}
    return found - {identity}


_CHANGES: tuple[Callable[[str], str], ...] = (
    str.swapcase,
    str.casefold,
    str.strip,
    lambda part: unicodedata.normalize("NFC", part),
    lambda part: unicodedata.normalize("NFD", part),
    lambda part: unicodedata.normalize("NFKC", part),
    lambda part: part[:-1],
    lambda part: part.replace("/", "%2F"),
    *(lambda part, extra=extra: part + extra for extra in ("0", " ", "/", ":", "|", "%", "*", "\u0301")),
    *(lambda part, wild=wild: wild + part[1:] for wild in ("%", "_", "*", "?", "[a-z]", "~")),
)


def _variants(part: str | None) -> Iterator[str | None]:
    if part is None:
        yield from ("", "~", "None", "null")
        return
    yield None
    for change in _CHANGES:
        yield change(part)


def _is_valid(part: str) -> bool:
    try:
        check_part("part", part)
    except IdentityInvalid:
        return False
    return True
