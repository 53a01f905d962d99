from __future__ import annotations

import string
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfootprint.errors import IdentityInvalid
from agentfootprint.identity import MAX_PART_BYTES, MemoryIdentity, Scope, namespace, namespace_prefix
from agentfootprint.state import StateKey
from agentfootprint.testing.identities import (
    FAMILY,
    descends,
    different_identities,
    different_keys,
    identities,
    invalid_parts,
)

PRINTABLE = frozenset(string.ascii_letters + string.digits + "-/=~")


@given(different_identities())
def test_different_identities_have_different_namespaces(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
    first, second = pair
    assert first != second
    assert namespace(first) != namespace(second)


def test_no_two_of_the_known_look_alikes_share_a_namespace() -> None:
    assert len({namespace(identity) for identity in FAMILY}) == len(FAMILY) > 50


@given(identities())
def test_a_namespace_is_free_of_what_stores_interpret(identity: MemoryIdentity) -> None:
    encoded = namespace(identity)
    assert PRINTABLE.issuperset(encoded)
    assert encoded.count("/") == 3


@given(identities())
def test_no_identity_is_a_namespace_of_its_own(identity: MemoryIdentity) -> None:
    assert namespace(None) != namespace(identity)
    assert not namespace(None).startswith(namespace_prefix(identity))


@given(st.one_of(different_identities(), identities().map(lambda identity: (identity, identity))))
def test_a_prefix_reaches_an_identity_and_its_descendants_and_nobody_else(
    pair: tuple[MemoryIdentity, MemoryIdentity],
) -> None:
    for identity, ancestor in (pair, pair[::-1]):
        reached = namespace(identity).startswith(namespace_prefix(ancestor))
        assert reached == descends(identity, ancestor)


def test_prefixes_are_exact_among_the_known_look_alikes() -> None:
    for identity, ancestor in combinations(FAMILY, 2):
        reached = namespace(identity).startswith(namespace_prefix(ancestor))
        assert reached == descends(identity, ancestor), (identity, ancestor)


def test_who_descends_from_whom() -> None:
    alice = MemoryIdentity("acme", "alice")
    assert descends(alice, alice)
    assert descends(MemoryIdentity("acme", "alice", "t-1"), alice)
    assert descends(alice, MemoryIdentity("acme"))
    assert not descends(MemoryIdentity("acme"), alice)
    assert not descends(MemoryIdentity("acme", "alicex"), alice)
    assert not descends(MemoryIdentity("acme", "alice", "t-10"), MemoryIdentity("acme", "alice", "t-1"))
    assert not descends(alice, MemoryIdentity()), "an absent tenant is a tenant like any other"
    assert descends(MemoryIdentity(None, "alice"), MemoryIdentity())


def test_a_namespace_reads_as_its_parts() -> None:
    assert namespace(MemoryIdentity("acme", "alice", "t-42")) == "acme/alice/t-42/"
    assert namespace(MemoryIdentity("a/b", None, "")) == "a=2Fb/~//"
    assert namespace_prefix(MemoryIdentity("acme", "alice")) == "acme/alice/"


@given(invalid_parts(), st.sampled_from(("tenant", "principal", "conversation_id")))
def test_parts_that_cannot_be_keys_are_refused_by_name(part: str, name: str) -> None:
    with pytest.raises(IdentityInvalid, match=f"^{name} ") as refused:
        MemoryIdentity(**{name: part})
    assert not part.strip() or part not in str(refused.value)


def test_the_longest_part_is_allowed_and_counted_in_bytes() -> None:
    MemoryIdentity("é" * (MAX_PART_BYTES // 2))
    with pytest.raises(IdentityInvalid, match="257 bytes"):
        MemoryIdentity("é" * (MAX_PART_BYTES // 2) + "a")


def test_a_part_that_is_no_string_is_refused() -> None:
    with pytest.raises(IdentityInvalid, match="tenant must be a string, not int"):
        MemoryIdentity(7)  # type: ignore[arg-type]


@given(identities(), st.sampled_from(("conversation", "principal", "tenant")))
def test_a_scope_cuts_from_the_right(identity: MemoryIdentity, scope: Scope) -> None:
    kept = {"conversation": 3, "principal": 2, "tenant": 1}[scope]
    expected = identity.parts[:kept] + (None,) * (3 - kept)
    assert identity.scoped(scope).parts == expected
    assert descends(identity, identity.scoped(scope))


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(IdentityInvalid, match="'world' is unknown"):
        MemoryIdentity("a").scoped("world")  # type: ignore[arg-type]


@given(different_keys(), different_identities())
def test_different_keys_are_encoded_differently(
    names: tuple[tuple[str, str], tuple[str, str]], owners: tuple[MemoryIdentity, MemoryIdentity]
) -> None:
    keys = [StateKey(owner, *name) for owner in (*owners, None) for name in names]
    assert len({key.encoded for key in keys}) == 6
    for key in keys:
        if key.identity is not None:
            assert key.encoded.startswith(namespace_prefix(key.identity))


@given(invalid_parts())
def test_a_state_key_names_which_part_is_invalid(part: str) -> None:
    with pytest.raises(IdentityInvalid, match=r"^kind "):
        StateKey(None, part, "name")
    with pytest.raises(IdentityInvalid, match=r"^name "):
        StateKey(None, "kind", part)
