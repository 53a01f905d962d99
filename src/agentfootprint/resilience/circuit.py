"""When a circuit is open: pure decisions over one small record, the same in one process and in many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Admitted", "Circuit", "CircuitRules", "Outcome", "Probe", "Refused"]

SLACK = 2
"""How many times its length an interval may seem to last: instances have clocks of their own."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A call that finds out whether the provider is back. After `until` (seconds since the epoch) it is
    taken for lost, with the process that made it."""

    token: str
    until: float


@dataclass(frozen=True, slots=True)
class Circuit:
    """The record. `until` is when an open circuit lets probes through; None: closed.

    `generation` counts openings and closings, so that a call that was let in before tells nothing about
    the time after. `failures` and `successes` are of the window that began at `since`.
    """

    generation: int = 0
    until: float | None = None
    failures: int = 0
    successes: int = 0
    since: float = 0.0
    probes: tuple[Probe, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "until": self.until,
            "failures": self.failures,
            "successes": self.successes,
            "since": self.since,
            "probes": [[probe.token, probe.until] for probe in self.probes],
        }

    @staticmethod
    def from_json(data: Any) -> Circuit:
        probes = tuple(Probe(token, until) for token, until in data["probes"])
        return Circuit(
            data["generation"], data["until"], data["failures"], data["successes"], data["since"], probes
        )


CLOSED = Circuit()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may go. `token` is set when it is a probe."""

    generation: int
    token: str | None = None
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The circuit is open for another `retry_after` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the end of a call changed."""

    opened: bool = False
    closed: bool = False
    failures: int = 0
    probe: bool = False


NOTHING = Outcome()


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When to open and how to come back; times in seconds.

    Without `failure_rate`, `failure_threshold` failures in a row open the circuit. With it, that share of
    at least `minimum_calls` calls within `window` does.
    """

    failure_threshold: int = 5
    cooldown: float = 30.0
    half_open_probes: int = 1
    probe_timeout: float = 60.0
    failure_rate: float | None = None
    window: float = 60.0
    minimum_calls: int = 10

    def admit(self, circuit: Circuit, now: float, token: str) -> tuple[Circuit, Admitted | Refused]:
        """Whether a call may go; `token` names it should it be a probe."""
        if circuit.until is None:
            return circuit, Admitted(circuit.generation, None, circuit.failures > 0)
        # What ends later than it can was written before a clock went back: it is not waited for.
        if now < circuit.until <= now + SLACK * self.cooldown:
            return circuit, Refused(circuit.until - now)
        latest = now + SLACK * self.probe_timeout
        alive = tuple(probe for probe in circuit.probes if now < probe.until <= latest)
        if len(alive) >= self.half_open_probes:
            return circuit, Refused(min(probe.until for probe in alive) - now)
        probing = replace(circuit, probes=(*alive, Probe(token, now + self.probe_timeout)))
        return probing, Admitted(circuit.generation, token)

    def succeeded(
        self, circuit: Circuit, now: float, call: Admitted, successes: int = 0
    ) -> tuple[Circuit, Outcome]:
        """A call succeeded; of a closed circuit without failures nothing changes. `successes` are those
        that an instance has not written yet (for a rate)."""
        if circuit.generation != call.generation:
            return circuit, NOTHING
        if circuit.until is not None:
            if call.token is None or all(probe.token != call.token for probe in circuit.probes):
                return circuit, NOTHING
            return Circuit(generation=circuit.generation + 1), Outcome(closed=True)
        if circuit.failures and self.failure_rate is None:
            return replace(circuit, failures=0), NOTHING
        return circuit, NOTHING

    def failed(
        self, circuit: Circuit, now: float, call: Admitted, successes: int = 0
    ) -> tuple[Circuit, Outcome]:
        """A call failed. A failed probe opens the circuit again."""
        if circuit.generation != call.generation:
            return circuit, NOTHING
        if circuit.until is not None:
            if call.token is None or all(probe.token != call.token for probe in circuit.probes):
                return circuit, NOTHING
            return self._open(circuit, now, probe=True)
        if self.failure_rate is None:
            failures = circuit.failures + 1
            if failures >= self.failure_threshold:
                return self._open(replace(circuit, failures=failures), now)
            return replace(circuit, failures=failures), NOTHING
        if now - circuit.since >= self.window:
            circuit = replace(circuit, failures=0, successes=0, since=now)
        counted = replace(circuit, failures=circuit.failures + 1, successes=circuit.successes + successes)
        calls = counted.failures + counted.successes
        if calls >= self.minimum_calls and counted.failures / calls >= self.failure_rate:
            return self._open(counted, now)
        return counted, NOTHING

    def released(self, circuit: Circuit, now: float, call: Admitted) -> tuple[Circuit, Outcome]:
        """A call ended that tells nothing about the provider: another may probe."""
        left = tuple(probe for probe in circuit.probes if probe.token != call.token)
        return (circuit if len(left) == len(circuit.probes) else replace(circuit, probes=left)), NOTHING

    def _open(self, circuit: Circuit, now: float, probe: bool = False) -> tuple[Circuit, Outcome]:
        opened = Circuit(circuit.generation + 1, now + self.cooldown, circuit.failures)
        return opened, Outcome(opened=True, failures=circuit.failures, probe=probe)
