"""The kit has teeth: each of these stores has one well-known fault, and the kit finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pytest

from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import InMemoryState, LogRecord, Record, StateKey
from agentfootprint.testing import ManualClock, state_store


class Make(Protocol):
    def __call__(self, *, clock: Callable[[], float]) -> InMemoryState: ...


def _version(record: Record | None) -> str | None:
    return record.version if record else None


class Renamed(InMemoryState):
    """Stores under another name than the one it was given."""

    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        raise AssertionError("each fault renames in its own way")

    def _key(self, key: StateKey) -> StateKey:
        return StateKey(self.rename(key.identity), key.kind, key.name)

    async def get(self, key: StateKey) -> Record | None:
        return await super().get(self._key(key))

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        return await super().compare_and_set(self._key(key), expected, value, ttl=ttl)

    async def append(self, key: StateKey, value: Any, *, ttl: float | None = None) -> int:
        return await super().append(self._key(key), value, ttl=ttl)

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> list[LogRecord]:
        return await super().read(self._key(key), after=after, limit=limit)


def _cut(text: str) -> str:
    return text.encode()[:256].decode(errors="ignore")


class JoinsWithColon(Renamed):
    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        return identity and MemoryIdentity(_cut(":".join(part or "" for part in identity.parts)))


class EmptyIsAbsent(Renamed):
    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        return identity and MemoryIdentity(*(part or None for part in identity.parts))


class FoldsCase(Renamed):
    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        return identity and MemoryIdentity(*(part and part.lower() for part in identity.parts))


class StripsSpaces(Renamed):
    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        return identity and MemoryIdentity(*(part and part.strip() for part in identity.parts))


class SharesWithTheOperator(Renamed):
    def rename(self, identity: MemoryIdentity | None) -> MemoryIdentity | None:
        return identity or MemoryIdentity()


class ForgetsByPrefix(InMemoryState):
    """`LIKE 'name%'`: t-1 takes t-10 along."""

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        if not descendants:
            return await super().forget(identity)
        text = "/".join(part for part in identity.parts if part is not None)
        alike = [
            each
            for each in self._spaces
            if each and "/".join(part for part in each.parts if part is not None).startswith(text)
        ]
        return sum([await InMemoryState.forget(self, each) for each in alike])


class NobodyIsEverybody(InMemoryState):
    """An absent tenant forgets all tenants."""

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        if descendants and identity == MemoryIdentity():
            everybody = [each for each in self._spaces if each]
            return sum([await InMemoryState.forget(self, each) for each in everybody])
        return await super().forget(identity, descendants=descendants)


class ForgetsTooLittle(InMemoryState):
    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        return await super().forget(identity)


class OneCounterForAll(InMemoryState):
    """The counter's key lacks the identity."""

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        return await super().increment(StateKey(None, key.kind, key.name), by, limit=limit, ttl=ttl)


class DeletesByName(InMemoryState):
    """`DELETE … WHERE name = …`: of whomever."""

    async def delete(self, key: StateKey) -> None:
        for identity in list(self._spaces):
            await super().delete(StateKey(identity, key.kind, key.name))


class AnyVersionWillDo(InMemoryState):
    """A version is looked up in a table of all tenants' versions."""

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        for identity in self._spaces:
            other = await self.get(StateKey(identity, key.kind, key.name))
            if expected is not None and _version(other) == expected:
                expected = _version(await self.get(key))
                break
        return await super().compare_and_set(key, expected, value, ttl=ttl)


class FindsByTheEncodedKey(InMemoryState):
    """A name that is another key's text is taken for that key."""

    async def get(self, key: StateKey) -> Record | None:
        for identity in self._spaces:
            for kind in ("kit", key.kind):
                other = StateKey(identity, kind, "head")
                if key.name == other.encoded:
                    return await super().get(other)
        return await super().get(key)


class ForgetsRecordsOnly(InMemoryState):
    """Counters and logs of a forgotten identity stay."""

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        kept = [
            (key, await self.increment(key, 0), await self.read(key))
            for key in [_key_of(each) for each in self._spaces if each is not None]
        ]
        count = await super().forget(identity, descendants=descendants)
        for key, total, log in kept:
            if total and await self.increment(key, 0) == 0:
                await self.increment(key, total)
            if log and not await self.read(key):
                await self.append(key, log[0].value)
        return count


def _key_of(identity: MemoryIdentity) -> StateKey:
    return StateKey(identity, "kit", "family")


class IgnoresExpected(InMemoryState):
    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        record = await self.get(key)
        return await super().compare_and_set(key, _version(record), value, ttl=ttl)


class ChecksThenWrites(InMemoryState):
    """Reads, lets others in, then writes."""

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        record = await self.get(key)
        if _version(record) != expected:
            return None
        await asyncio.sleep(0)
        record = await self.get(key)
        return await super().compare_and_set(key, _version(record), value, ttl=ttl)


class ReadsThenAdds(InMemoryState):
    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        before = await super().increment(key, 0) or 0
        await asyncio.sleep(0)
        if limit is not None and before + by > limit:
            return None
        return await super().increment(key, by, ttl=ttl)


class CountsVersionsPerKey(InMemoryState):
    """Version 1 comes back after a delete."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._versions: dict[StateKey, tuple[str, int]] = {}

    async def get(self, key: StateKey) -> Record | None:
        record = await super().get(key)
        return record and replace(record, version=str(self._versions[key][1]))

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: Any, *, ttl: float | None = None
    ) -> Record | None:
        inner, number = self._versions.get(key, ("", 0))
        real = inner if expected == str(number) and number else expected
        record = await super().compare_and_set(key, real, value, ttl=ttl)
        if record is None:
            return None
        self._versions[key] = (record.version, 1 if expected is None else number + 1)
        return replace(record, version=str(self._versions[key][1]))


class NoneIsAbsent(InMemoryState):
    async def get(self, key: StateKey) -> Record | None:
        record = await super().get(key)
        return record if record and record.value is not None else None


class Shares(InMemoryState):
    """Hands out the object it keeps."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._kept: dict[str, Record] = {}

    async def get(self, key: StateKey) -> Record | None:
        record = await super().get(key)
        return record and self._kept.setdefault(record.version, record)


class SwallowsWhatIsNotJSON(InMemoryState):
    async def append(self, key: StateKey, value: Any, *, ttl: float | None = None) -> int:
        return await super().append(
            key, value if isinstance(value, (str, int, list)) else str(value), ttl=ttl
        )


class ReadsNewestFirst(InMemoryState):
    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> list[LogRecord]:
        return (await super().read(key, after=after, limit=limit))[::-1]


class LosesAppends(InMemoryState):
    """The log is one value, read and written back."""

    async def append(self, key: StateKey, value: Any, *, ttl: float | None = None) -> int:
        place = StateKey(key.identity, "log of " + key.kind, key.name)
        record = await super().get(place)
        await asyncio.sleep(0)
        values: list[Any] = [*(record.value if record else []), value]
        current = await super().get(place)
        await super().compare_and_set(place, _version(current), values)
        return len(values)

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> list[LogRecord]:
        record = await super().get(StateKey(key.identity, "log of " + key.kind, key.name))
        values: Sequence[Any] = record.value if record else []
        return [LogRecord(number, value) for number, value in enumerate(values, 1) if number > after][:limit]


class DeletesTheRecordOnly(InMemoryState):
    async def delete(self, key: StateKey) -> None:
        slot = self._find(key)
        if slot:
            slot.record = None


class GoesOnAfterClosing(InMemoryState):
    async def aclose(self) -> None:
        pass


class KeepsForEver(InMemoryState):
    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=lambda: 0.0)


class RenewsCounters(InMemoryState):
    """The counter's ttl starts anew with each increment."""

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        after = await super().increment(key, by, limit=limit, ttl=ttl)
        slot = self._find(key)
        if slot and slot.counter and ttl is not None:
            slot.counter = (slot.counter[0], self._clock() + ttl)
        return after


class NumbersByWhatIsLeft(InMemoryState):
    """A log that expired begins at 1 again."""

    async def append(self, key: StateKey, value: Any, *, ttl: float | None = None) -> int:
        await super().append(key, value, ttl=ttl)
        slot = self._find(key)
        assert slot is not None
        slot.drop_expired(self._clock())
        if not slot.log:
            return 1
        *_, (_, text, expires) = slot.log
        sequence = slot.log[-2][0] + 1 if len(slot.log) > 1 else 1
        slot.log[-1] = (sequence, text, expires)
        return sequence


FAULTS: list[tuple[Make, state_store.Check]] = [
    (JoinsWithColon, state_store.tenants_never_meet),
    (EmptyIsAbsent, state_store.tenants_never_meet),
    (FoldsCase, state_store.tenants_never_meet),
    (StripsSpaces, state_store.tenants_never_meet),
    (OneCounterForAll, state_store.tenants_never_meet),
    (OneCounterForAll, state_store.guessed_keys_reach_nothing),
    (OneCounterForAll, state_store.the_operators_own_is_nobodys),
    (DeletesByName, state_store.tenants_never_meet),
    (DeletesByName, state_store.guessed_keys_reach_nothing),
    (DeletesByName, state_store.the_operators_own_is_nobodys),
    (AnyVersionWillDo, state_store.tenants_never_meet),
    (AnyVersionWillDo, state_store.the_operators_own_is_nobodys),
    (FindsByTheEncodedKey, state_store.guessed_keys_reach_nothing),
    (ForgetsRecordsOnly, state_store.forget_reaches_exactly_whom_it_names),
    (SharesWithTheOperator, state_store.the_operators_own_is_nobodys),
    (ForgetsByPrefix, state_store.forget_reaches_exactly_whom_it_names),
    (NobodyIsEverybody, state_store.forget_reaches_exactly_whom_it_names),
    (ForgetsTooLittle, state_store.forget_reaches_exactly_whom_it_names),
    (IgnoresExpected, state_store.compare_and_set_needs_the_current_version),
    (ChecksThenWrites, state_store.one_of_many_writers_wins),
    (ChecksThenWrites, state_store.retried_updates_are_not_lost),
    (ReadsThenAdds, state_store.limits_hold_under_concurrency),
    (CountsVersionsPerKey, state_store.versions_are_never_reused),
    (NoneIsAbsent, state_store.none_is_not_absent),
    (Shares, state_store.stored_values_are_not_shared),
    (SwallowsWhatIsNotJSON, state_store.what_is_not_json_is_refused),
    (ReadsNewestFirst, state_store.logs_keep_order),
    (LosesAppends, state_store.concurrent_appends_are_all_kept),
    (DeletesTheRecordOnly, state_store.record_counter_and_log_share_a_key),
    (GoesOnAfterClosing, state_store.a_closed_store_refuses),
]

FAULTS_OF_TIME: list[tuple[Make, state_store.TTLCheck]] = [
    (KeepsForEver, state_store.expired_records_are_absent),
    (KeepsForEver, state_store.the_expired_is_not_counted),
    (RenewsCounters, state_store.expired_counters_start_again),
    (NumbersByWhatIsLeft, state_store.expired_log_entries_are_absent),
]


@pytest.mark.parametrize(("faulty", "check"), FAULTS)
async def test_the_kit_finds(faulty: Make, check: state_store.Check) -> None:
    assert check in state_store.CHECKS
    with pytest.raises(AssertionError):
        await check(faulty(clock=ManualClock()))


@pytest.mark.parametrize(("faulty", "check"), FAULTS_OF_TIME)
async def test_the_kit_finds_in_time(faulty: Make, check: state_store.TTLCheck) -> None:
    assert check in state_store.TTL_CHECKS
    clock = ManualClock()
    with pytest.raises(AssertionError):
        await check(faulty(clock=clock), clock.advance)
