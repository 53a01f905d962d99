"""What a generated program must do, worked out without the engine.

It walks the program as written, one thing after the other, and notes for every value what it was made
of. Slices are then brute force: the transitive closure of those notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .generator import (
    LISTS,
    SORTED,
    SUM,
    Block,
    Choice,
    Fork,
    Loop,
    Map,
    Node,
    Ops,
    Program,
    Sub,
    answer_to,
    effect_of,
    entry,
    is_odd,
    mix,
)


@dataclass(eq=False)
class Value:
    """One value: what it was made of, the list it grew from, and the makers of its items."""

    id: str
    data: Any
    made_of: list[Value]
    because: str | None
    grew_from: Value | None = None
    grew: bool = False
    makers: list[Value] = field(default_factory=list)

    def items_made_by(self) -> list[Value]:
        return self.makers or [self] * len(self.data)


Env = dict[str, Value]


@dataclass
class Judgement:
    """A decision: what it read, and the decision that led to it."""

    reads: list[Value]
    because: str | None


class _Failed(Exception):
    pass


class Oracle:
    def __init__(self, program: Program, given: int) -> None:
        self.values: dict[str, Value] = {}
        self.decisions: dict[str, Judgement] = {}
        self.saw: dict[str, Mapping[str, Any]] = {}
        self.asked: list[str] = []
        self.final: Env = self._program(program, "", given, [], None)

    # ── asking ──────────────────────────────────────────────────────────────────────────────────

    def slice(self, root: Value, *, prefix: bool = True) -> tuple[set[str], set[str]]:
        """The values and the decisions that a value rests on, itself included."""
        values: set[str] = set()
        decisions: set[str] = set()
        todo: list[Value | str] = [root]
        while todo:
            one = todo.pop()
            if isinstance(one, str):
                if one not in decisions:
                    decisions.add(one)
                    judgement = self.decisions[one]
                    todo += judgement.reads
                    todo += [judgement.because] if judgement.because else []
            elif one.id not in values:
                values.add(one.id)
                todo += one.made_of
                if one.grew and one.grew_from is not None and (prefix or one is not root):
                    todo.append(one.grew_from)
                todo += [one.because] if one.because else []
        return values, decisions

    # ── walking ─────────────────────────────────────────────────────────────────────────────────

    def _program(
        self, program: Program, path: str, given: int, reads: list[Value], because: str | None
    ) -> Env:
        env: Env = {}
        with self._step(f"{path}input#0", env, because, look=False) as step:
            step.reads += reads
            step.write("input", given)
        self._block(program.block, env, path, {}, because)
        return env

    def _block(self, block: Block, env: Env, path: str, visits: dict[str, int], because: str | None) -> None:
        for node in block:
            self._node(node, env, path, visits, because)

    def _node(self, node: Node, env: Env, path: str, visits: dict[str, int], because: str | None) -> None:
        def step_id(name: str) -> str:
            visits[name] = visits.get(name, -1) + 1
            return f"{path}{name}#{visits[name]}"

        if isinstance(node, Choice):
            name = step_id(node.name)
            odd = self._judges(name, node.key, is_odd, env, because)
            self._block(node.then if odd else node.other, env, path, visits, name)
        elif isinstance(node, Loop):
            more = True
            while more:
                with self._step(step_id(node.head), env, because) as step:
                    step.write(node.counter, (step.read(node.counter) or 0) + 1)
                self._block(node.body, env, path, visits, because)
                name = step_id(node.name)
                more = self._judges(name, node.counter, lambda n: n % node.times != 0, env, because)
                because = name
        elif isinstance(node, Fork):
            self._fork(node, step_id(node.name), env, because)
        elif isinstance(node, Map):
            self._map(node, step_id(node.fill), step_id(node.name), env, because)
        elif isinstance(node, Sub):
            name = step_id(node.name)
            with self._step(name, env, because) as step:
                given = step.run(node.ops, 1)
                final = self._program(node.program, f"{name}/", given, step.reads, because)
                for theirs, ours in node.outputs:
                    source = final[theirs]
                    step.join(
                        ours, source.data, [source], makers=source.items_made_by() if theirs in LISTS else []
                    )
        else:
            with self._step(step_id(node.name), env, because) as step:
                step.run(node.ops, 0)

    def _judges(self, name: str, key: str, test: Any, env: Env, because: str | None) -> bool:
        with self._step(name, env, because) as step:
            value = step.read(key)
        self.decisions[name] = Judgement(step.reads, because)
        return value is not None and bool(test(value))

    def _fork(self, node: Fork, name: str, env: Env, because: str | None) -> None:
        with self._step(name, env, because) as step:
            step.run(node.ops, 0)
            chosen = list(range(len(node.branches)))
            reason = because
            if node.chosen is not None:
                bits = step.read(node.chosen)
                chosen = [i for i in chosen if (7 if bits is None else bits) >> i & 1]
                self.decisions[name] = Judgement(step.reads, because)
                reason = name
            views = []
            for i in chosen:
                view = dict(env)
                branch = node.branches[i]
                try:
                    self._block(branch, view, f"{name}.{entry(branch[0])}/", {}, reason)
                except _Failed:
                    assert i in node.fails
                    continue
                views.append(view)
            self._join(step, env, views)

    def _map(self, node: Map, fill: str, name: str, env: Env, because: str | None) -> None:
        with self._step(fill, env, because) as step:
            step.write(node.items, tuple(mix(step.read("k0") or 0, n) for n in range(node.size)))
        with self._step(name, env, because) as step:
            items = step.read(node.items)
            views = []
            for i, item in enumerate(items):
                view = dict(env)
                with self._step(f"{name}[{i}]", view, because) as inner:
                    inner.read(node.items)
                    inner.run(node.ops, item)
                views.append(view)
            self._join(step, env, views)

    def _join(self, step: _Step, env: Env, views: list[Env]) -> None:
        before = dict(env)
        changed = {key: None for view in views for key in view if view[key] is not before.get(key)}
        for key in changed:
            values = [view[key] for view in views if key in view and view[key] is not before.get(key)]
            base = before.get(key)
            if len(values) == 1:
                env[key] = values[0]
            elif all(_grew_from(value, base) for value in values):
                size = len(base.data) if base is not None else 0
                data = values[0].data + [item for value in values[1:] for item in value.data[size:]]
                makers = values[0].items_made_by() + [m for v in values[1:] for m in v.items_made_by()[size:]]
                step.join(key, data, values, grew_from=base, grew=True, makers=makers)
            else:
                data = values[0].data
                for value in values[1:]:
                    data = _reduced(key, data, value.data)
                step.join(key, data, values)

    @contextmanager
    def _step(self, name: str, env: Env, because: str | None, *, look: bool = True) -> Iterator[_Step]:
        if look:
            self.saw[name] = {key: value.data for key, value in env.items()}
        yield _Step(self, name, env, because)


class _Step:
    """One step: what it read so far, and what it writes of that."""

    def __init__(self, oracle: Oracle, name: str, env: Env, because: str | None) -> None:
        self.oracle = oracle
        self.name = name
        self.env = env
        self.because = because
        self.reads: list[Value] = []
        self.questions = 0

    def read(self, key: str) -> Any:
        value = self.env.get(key)
        if value is None:
            return None
        if value not in self.reads:
            self.reads.append(value)
        return value.data

    def write(self, key: str, data: Any) -> None:
        self._put(key, Value(self._id(key), data, list(self.reads), self.because))

    def append(self, key: str, item: int) -> None:
        base = self.env.get(key)
        value = Value(self._id(key), [*(base.data if base else []), item], list(self.reads), self.because)
        value.grew, value.grew_from = True, base
        value.makers = [*(base.items_made_by() if base else []), value]
        self._put(key, value)

    def join(self, key: str, data: Any, sources: list[Value], **more: Any) -> None:
        self._put(key, Value(self._id(key), data, sources, self.because, **more))

    def _put(self, key: str, value: Value) -> None:
        self.oracle.values[value.id] = self.env[key] = value

    def _id(self, key: str) -> str:
        plain = name = f"{self.name}:{key}"
        count = 0
        while name in self.oracle.values:
            count += 1
            name = f"{plain}@{count}"
        return name

    def run(self, ops: Ops, so_far: int) -> int:
        for op in ops:
            if op.kind == "read":
                data = self.read(op.key)
                so_far = so_far if data is None else mix(so_far, data)
            elif op.kind == "call":
                so_far = effect_of(so_far, op.number)
            elif op.kind == "ask":
                ask = f"{self.name}?{self.questions}"
                self.questions += 1
                self.oracle.asked.append(ask)
                so_far = mix(so_far, answer_to(ask))
            elif op.kind == "write":
                self.write(op.key, so_far := mix(so_far, op.number))
            elif op.kind == "append":
                self.append(op.key, so_far := mix(so_far, op.number))
            elif op.kind == "renew":
                so_far = mix(so_far, op.number)
                self.write(op.key, [so_far])
            elif op.kind == "fail":
                raise _Failed
        return so_far


def _grew_from(value: Value, base: Value | None) -> bool:
    at: Value | None = value
    while at is not base:
        if at is None or not at.grew:
            return False
        at = at.grew_from
    return True


def _reduced(key: str, left: Any, right: Any) -> Any:
    if key == SUM:
        return left + right
    if key == SORTED:
        return sorted([*left, *right], reverse=True)
    assert key in LISTS
    return [*left, *right]
