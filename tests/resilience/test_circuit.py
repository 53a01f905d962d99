"""The decisions of a circuit breaker, without any provider or store."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint.resilience.circuit import CLOSED, Admitted, Circuit, CircuitRules, Refused

RULES = CircuitRules(failure_threshold=3, cooldown=10, half_open_probes=2, probe_timeout=30)
CALL = Admitted(0)


def opened(now: float = 100.0) -> Circuit:
    circuit, _ = RULES.failed(CLOSED, now, CALL)
    circuit, _ = RULES.failed(circuit, now, CALL)
    circuit, outcome = RULES.failed(circuit, now, CALL)
    assert outcome.opened
    return circuit


def test_so_many_failures_in_a_row_open_it() -> None:
    circuit, decision = RULES.admit(opened(), 104.0, "t")
    assert decision == Refused(6.0)
    assert circuit is not CLOSED


def test_a_success_in_between_begins_the_count_again() -> None:
    circuit, _ = RULES.failed(CLOSED, 0, CALL)
    circuit, _ = RULES.failed(circuit, 0, CALL)
    _, decision = RULES.admit(circuit, 0, "t")
    assert isinstance(decision, Admitted)
    assert decision.dirty
    circuit, _ = RULES.succeeded(circuit, 0, decision)
    assert circuit.failures == 0


def test_a_success_of_a_closed_circuit_changes_nothing() -> None:
    circuit, decision = RULES.admit(CLOSED, 0, "t")
    assert circuit is CLOSED
    assert decision == Admitted(0)
    assert RULES.succeeded(CLOSED, 0, CALL)[0] is CLOSED


def test_only_so_many_probe_at_a_time() -> None:
    circuit = opened()
    circuit, a = RULES.admit(circuit, 110, "a")
    circuit, b = RULES.admit(circuit, 110, "b")
    _, c = RULES.admit(circuit, 111, "c")
    assert isinstance(a, Admitted)
    assert isinstance(b, Admitted)
    assert c == Refused(29.0)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit, probe = RULES.admit(opened(), 110, "a")
    assert isinstance(probe, Admitted)
    circuit, outcome = RULES.succeeded(circuit, 111, probe)
    assert outcome.closed
    assert (circuit.until, circuit.failures) == (None, 0)


def test_a_probe_that_fails_opens_it_for_another_cooldown() -> None:
    circuit, probe = RULES.admit(opened(), 110, "a")
    assert isinstance(probe, Admitted)
    circuit, outcome = RULES.failed(circuit, 112, probe)
    assert (outcome.opened, outcome.probe, circuit.until, circuit.probes) == (True, True, 122, ())


def test_a_probe_that_tells_nothing_makes_room_for_another() -> None:
    rules = CircuitRules(failure_threshold=3, cooldown=10, half_open_probes=1)
    circuit, probe = rules.admit(opened(), 110, "a")
    assert isinstance(probe, Admitted)
    assert isinstance(rules.admit(circuit, 110, "b")[1], Refused)
    circuit, _ = rules.released(circuit, 110, probe)
    assert isinstance(rules.admit(circuit, 110, "b")[1], Admitted)


def test_a_probe_whose_process_died_makes_room_when_its_time_is_over() -> None:
    rules = CircuitRules(failure_threshold=3, cooldown=10, probe_timeout=30)
    circuit, _ = rules.admit(opened(), 110, "dead")
    assert isinstance(rules.admit(circuit, 139, "b")[1], Refused)
    assert isinstance(rules.admit(circuit, 140, "b")[1], Admitted)


def test_a_call_of_the_time_before_tells_nothing_about_now() -> None:
    circuit = opened()
    assert RULES.failed(circuit, 105, CALL) == (circuit, RULES.failed(circuit, 105, CALL)[1])
    assert RULES.failed(circuit, 105, CALL)[0].until == 110
    circuit, probe = RULES.admit(circuit, 110, "a")
    assert isinstance(probe, Admitted)
    closed, _ = RULES.succeeded(circuit, 111, probe)
    assert RULES.failed(closed, 112, CALL)[0] is closed
    assert RULES.succeeded(circuit, 111, CALL)[0] is circuit


def test_a_share_of_failures_opens_it_when_there_were_calls_enough() -> None:
    rules = CircuitRules(failure_rate=0.5, minimum_calls=4, window=60)
    circuit, outcome = rules.failed(CLOSED, 1000, CALL, successes=2)
    assert not outcome.opened
    circuit, outcome = rules.failed(circuit, 1001, CALL)
    assert (outcome.opened, outcome.failures) == (True, 2)


def test_what_lies_before_the_window_does_not_count() -> None:
    rules = CircuitRules(failure_rate=0.5, minimum_calls=2, window=60)
    circuit, _ = rules.failed(CLOSED, 1000, CALL)
    circuit, outcome = rules.failed(circuit, 1061, CALL)
    assert (outcome.opened, circuit.failures) == (False, 1)


steps = st.lists(
    st.tuples(st.sampled_from(["call", "ok", "fail", "drop", "lose", "wait"]), st.integers(0, 20)),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.integers(1, 3))
def test_there_are_never_more_probes_than_allowed(script: list[tuple[str, int]], probes: int) -> None:
    rules = CircuitRules(failure_threshold=2, cooldown=10, half_open_probes=probes, probe_timeout=15)
    circuit, now, running = CLOSED, 1000.0, list[Admitted]()
    for number, (what, seconds) in enumerate(script):
        if what == "wait":
            now += seconds
        elif what == "call":
            circuit, decision = rules.admit(circuit, now, str(number))
            if isinstance(decision, Admitted):
                running.append(decision)
            else:
                assert decision.retry_after > 0
        elif running:
            call = running.pop(seconds % len(running))
            if what == "ok":
                circuit, _ = rules.succeeded(circuit, now, call)
            elif what == "fail":
                circuit, _ = rules.failed(circuit, now, call)
            elif what == "drop":
                circuit, _ = rules.released(circuit, now, call)
        assert sum(probe.until > now for probe in circuit.probes) <= probes
        assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit
    # Whatever happened, it comes back: after every lease and cooldown a call is let in.
    assert isinstance(rules.admit(circuit, now + 60, "last")[1], Admitted)


def test_a_clock_that_went_back_is_not_waited_for() -> None:
    circuit = opened(now=5000.0)
    _, decision = RULES.admit(circuit, 1000.0, "t")
    assert isinstance(decision, Admitted)
    assert decision.token == "t"
    # What the clocks of two instances differ by is nothing to go by.
    assert isinstance(RULES.admit(circuit, 4999.5, "t")[1], Refused)


def test_a_probe_from_before_a_clock_went_back_keeps_nobody_out() -> None:
    circuit, _ = RULES.admit(opened(now=5000.0), 5010.0, "a")
    circuit, _ = RULES.admit(circuit, 5010.0, "b")
    assert isinstance(RULES.admit(circuit, 1000.0, "c")[1], Admitted)
