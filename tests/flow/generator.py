"""Random structured flows: programs as data, drawn by hypothesis, built as flows of the engine.

A program computes with small integers. What its steps write follows from what they read, so that any
wrong value, order or version shows. Its timing is random on purpose: nothing may follow from it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any, TypeAlias, TypedDict

from hypothesis import strategies as st

from agentfootprint.flow import Decision, Flow, Reduce, Seq, Step, check, decide, rule

PLAIN = ("k0", "k1", "k2", "k3")
LISTS = ("l0", "l1")
SUM = "r0"
SORTED = "s0"
MODULUS = 1009


def sorted_list(left: Seq[int], right: Seq[int]) -> Seq[int]:
    """A reducer that rearranges, so that nobody can take its list for one that only grew."""
    return Seq(sorted([*left, *right], reverse=True))


# ── programs ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Op:
    """`read`, `write`, `append`, `renew` (a list begun anew), `call`, `ask`, `emit` or `fail`."""

    kind: str
    key: str = ""
    number: int = 0


Ops: TypeAlias = tuple[Op, ...]


@dataclass(frozen=True)
class Work:
    name: str
    ops: Ops
    plain: bool = False


@dataclass(frozen=True)
class Choice:
    """`then` when the key is odd, `other` when it is even or was never written."""

    name: str
    key: str
    then: Block
    other: Block


@dataclass(frozen=True)
class Loop:
    """The body, as often as it takes for the counter to be a multiple of `times`."""

    name: str
    times: int
    body: Block

    @property
    def head(self) -> str:
        return f"{self.name}-head"

    @property
    def counter(self) -> str:
        return f"n_{self.name}"


@dataclass(frozen=True)
class Fork:
    """`chosen`: a key whose bits say which branches run; None runs all. `fails`: these are optional."""

    name: str
    ops: Ops
    branches: tuple[Block, ...]
    chosen: str | None = None
    fails: tuple[int, ...] = ()

    def names(self) -> list[str]:
        return [entry(branch[0]) for branch in self.branches]


@dataclass(frozen=True)
class Map:
    """A step that fills the list, and one step per item of it."""

    name: str
    size: int
    ops: Ops
    limit: int | None = None
    plain: bool = False

    @property
    def fill(self) -> str:
        return f"{self.name}-fill"

    @property
    def items(self) -> str:
        return f"i_{self.name}"


@dataclass(frozen=True)
class Sub:
    name: str
    ops: Ops
    program: Program
    outputs: tuple[tuple[str, str], ...]


Node: TypeAlias = Work | Choice | Loop | Fork | Map | Sub
Block: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class Program:
    block: Block


def entry(node: Node) -> str:
    """The name of the first step of a node."""
    if isinstance(node, Loop):
        return node.head
    return node.fill if isinstance(node, Map) else node.name


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────


def programs(*, asks: bool = True) -> st.SearchStrategy[Program]:
    """Programs by seed and size: drawing every choice by hypothesis would take longer than the runs."""
    sizes, depths = st.sampled_from([1, 2, 4, 8, 12, 16]), st.sampled_from([1, 2, 3, 3])
    return st.builds(program_of, st.integers(0, 2**32), sizes, depths, asks=st.just(asks))


def program_of(seed: int, size: int, depth: int, *, asks: bool = True) -> Program:
    """A program of about `size` nodes, nested at most `depth` deep."""
    return _Dice(random.Random(seed), size, asks).program(depth)


class _Dice:
    def __init__(self, dice: random.Random, size: int, asks: bool) -> None:
        self.dice = dice
        self.size = size
        self.asks = asks
        self.count = 0

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def maybe(self, sides: int = 2) -> bool:
        return self.dice.randrange(sides) == 0

    def program(self, depth: int) -> Program:
        first = Work(self.name("s"), tuple(Op("write", key, n) for n, key in enumerate(PLAIN[:2])))
        block = self.block(PLAIN, depth)
        # Whoever uses this program as a sub-flow counts on these two.
        last = Work(self.name("s"), (Op("read", "k1"), Op("write", "k0", 5), Op("append", "l0", 6)))
        return Program((first, *block, last))

    def block(self, plain: tuple[str, ...], depth: int) -> Block:
        nodes = [self.node(plain, depth)]
        while self.size > 0 and len(nodes) < 4 and (len(nodes) < 2 or not self.maybe(3)):
            nodes.append(self.node(plain, depth))
        return tuple(nodes)

    def node(self, plain: tuple[str, ...], depth: int) -> Node:
        self.size -= 1
        kinds = ["work", "choice", "loop", "fork", "map", "sub"] if depth > 0 and self.size > 0 else ["work"]
        kind = self.dice.choice(kinds)
        depth -= 1
        if kind == "choice":
            then, other = self.block(plain, depth), self.block(plain, depth)
            return Choice(self.name("c"), self.dice.choice([*PLAIN, SUM]), then, other)
        if kind == "loop":
            return Loop(self.name("w"), self.dice.randint(1, 3), self.block(plain, depth))
        if kind == "fork":
            return self.fork(plain, depth)
        if kind == "map":
            limit = self.dice.choice([None, 1, 2])
            return Map(self.name("m"), self.dice.randint(0, 3), self.ops((), self.asks), limit, self.maybe())
        if kind == "sub":
            outputs = [("l0", self.dice.choice(LISTS))] if self.maybe() else []
            outputs += [("k0", self.dice.choice(plain))] if plain else []
            return Sub(self.name("u"), self.ops(plain, False), self.program(depth), tuple(outputs))
        return Work(self.name("s"), self.ops(plain, self.asks), self.maybe())

    def fork(self, plain: tuple[str, ...], depth: int) -> Fork:
        count = self.dice.randint(1, 3)
        # A key has one branch that may write it; lists and reduced keys may be written by all.
        owner = [self.dice.randrange(count) for _ in plain]
        mine = [tuple(key for key, one in zip(plain, owner, strict=True) if one == i) for i in range(count)]
        branches = [self.block(mine[i], depth) for i in range(count)]
        fails = tuple(i for i in range(count) if self.maybe(6))
        for i in fails:
            branches[i] = (*branches[i], Work(self.name("x"), (Op("read", "k0"), Op("fail"))))
        chosen = self.dice.choice([None, None, *PLAIN])
        return Fork(self.name("f"), self.ops(plain, False), tuple(branches), chosen, fails)

    def ops(self, plain: tuple[str, ...], asks: bool) -> Ops:
        kinds = ["read"] * 4 + ["write"] * 2 + ["append"] * 2 + ["renew", "call", "emit"] + ["ask"] * asks
        return tuple(self.op(self.dice.choice(kinds), plain) for _ in range(self.dice.randrange(6)))

    def op(self, kind: str, plain: tuple[str, ...]) -> Op:
        keys = {
            "read": (*PLAIN, *LISTS, SUM, SORTED),
            "write": (*plain, SUM),
            "append": (*LISTS, SORTED),
            "renew": (SORTED,),
        }
        return Op(kind, self.dice.choice(keys.get(kind, ("",))), self.dice.randrange(10))


# ── computing ───────────────────────────────────────────────────────────────────────────────────


def mix(so_far: int, value: Any) -> int:
    if isinstance(value, int):
        return (so_far * 31 + value + 1) % MODULUS
    items: Sequence[int] = value
    return (so_far * 37 + sum(items) + 7 * len(items)) % MODULUS


def effect_of(argument: int, number: int) -> int:
    return (argument * 7 + number) % MODULUS


def answer_to(ask_id: str) -> int:
    return sum(map(ord, ask_id)) % 97


def is_odd(value: int) -> bool:
    return value % 2 == 1


@dataclass
class World:
    """The outside of a run: its effects, its timing, and what the steps saw."""

    timing: random.Random = field(default_factory=lambda: random.Random(0))
    touched: int = 0
    closed: bool = False
    saw: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def wait(self) -> None:
        for _ in range(self.timing.randrange(3)):
            await asyncio.sleep(0)

    def touch(self, argument: int, number: int) -> int:
        assert not self.closed, "an effect was touched that the record should have answered"
        self.touched += 1
        return effect_of(argument, number)

    async def touch_slowly(self, argument: int, number: int) -> int:
        result = self.touch(argument, number)
        await self.wait()
        return result

    def look(self, step: Step[Any]) -> None:
        assert step._frame is not None
        self.saw[step.id] = {key: version.value for key, version in step._frame.state.items()}


# ── building ────────────────────────────────────────────────────────────────────────────────────


def build(program: Program, world: World, name: str = "program") -> Flow[Any]:
    keys: dict[str, Any] = {"input": int, **dict.fromkeys(PLAIN, int), SUM: Annotated[int, Reduce(add)]}
    keys |= {**dict.fromkeys(LISTS, Seq[int]), SORTED: Annotated[Seq[int], Reduce(sorted_list)]}
    keys |= _declared(program.block)
    flow: Flow[Any] = Flow(name, state=TypedDict("State", keys))  # type: ignore[operator]
    _build(flow, program.block, None, world)
    return flow


def _declared(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in block:
        if isinstance(node, Loop):
            found |= {node.counter: int, **_declared(node.body)}
        elif isinstance(node, Map):
            found[node.items] = tuple[int, ...]
        elif isinstance(node, Choice):
            found |= _declared(node.then) | _declared(node.other)
        elif isinstance(node, Fork):
            for branch in node.branches:
                found |= _declared(branch)
    return found


def _build(flow: Flow[Any], block: Block, to: str | None, world: World) -> None:
    following = [*(entry(node) for node in block[1:]), to]
    for node, then in zip(block, following, strict=True):
        _build_node(flow, node, then, world)


def _build_node(flow: Flow[Any], node: Node, to: str | None, world: World) -> None:
    if isinstance(node, Work):
        flow.step(to=to, name=node.name)(_working(node.ops, world, node.plain))
    elif isinstance(node, Choice):
        assert to is not None
        rules = [rule("it is odd", "then", **{node.key: check("is odd", is_odd)})]
        targets = {"then": entry(node.then[0]), "other": entry(node.other[0])}
        flow.decide(to=targets, name=node.name)(_deciding(rules, "other", world))
        _build(flow, node.then, to, world)
        _build(flow, node.other, to, world)
    elif isinstance(node, Loop):
        assert to is not None
        counter, times = node.counter, node.times
        flow.step(to=entry(node.body[0]), name=node.head)(_counting(counter, world))
        _build(flow, node.body, node.name, world)
        again = check(f"leaves a rest by {times}", lambda value: value % times != 0)
        rules = [rule("not often enough", "more", **{counter: again})]
        flow.decide(to={"more": node.head, "enough": to}, name=node.name)(_deciding(rules, "enough", world))
    elif isinstance(node, Fork):
        assert to is not None
        names = node.names()
        optional = [names[i] for i in node.fails]
        flow.fork(branches=names, to=to, optional=optional, name=node.name)(_forking(node, world))
        for branch in node.branches:
            _build(flow, branch, to, world)
    elif isinstance(node, Map):
        flow.step(to=node.name, name=node.fill)(_filling(node, world))
        work = _working(node.ops, world, node.plain)
        flow.map(over=node.items, to=to, limit=node.limit, name=node.name)(_item(work, node, world))
    else:
        child = build(node.program, world, f"{node.name}-flow")
        flow.sub(node.name, child, input=_giving(node, world), outputs=dict(node.outputs), to=to)


def _working(ops: Ops, world: World, plain: bool) -> Callable[..., Any]:
    async def slowly(step: Step[Any], so_far: int = 0) -> None:
        world.look(step)
        for op in ops:
            await world.wait()
            if op.kind == "call":
                so_far = await step.call("effect", world.touch_slowly, so_far, op.number)
            elif op.kind == "ask":
                so_far = mix(so_far, await step.ask(f"what goes with {so_far}?", data={"number": op.number}))
            else:
                so_far = run_op(step, op, so_far, world)

    def at_once(step: Step[Any], so_far: int = 0) -> None:
        world.look(step)
        run_ops(step, ops, so_far, world)

    return at_once if plain else slowly


def run_ops(step: Step[Any], ops: Ops, so_far: int, world: World) -> int:
    for op in ops:
        so_far = run_op(step, op, so_far, world)
    return so_far


def run_op(step: Step[Any], op: Op, so_far: int, world: World) -> int:
    if op.kind == "read":
        value = step.get(op.key)
        return so_far if value is None else mix(so_far, value)
    if op.kind == "call":
        return step.call_now("effect", world.touch, so_far, op.number)
    if op.kind == "ask":
        return mix(so_far, step.ask_now(f"what goes with {so_far}?", data={"number": op.number}))
    if op.kind == "write":
        step[op.key] = so_far = mix(so_far, op.number)
    elif op.kind == "append":
        step.append(op.key, so_far := mix(so_far, op.number))
    elif op.kind == "renew":
        step[op.key] = Seq([so_far := mix(so_far, op.number)])
    elif op.kind == "emit":
        step.emit("number", {"number": mix(so_far, op.number)})
    else:
        raise ValueError(f"meant to fail with {so_far}")
    return so_far


def _deciding(rules: Any, default: str, world: World) -> Callable[..., Any]:
    def choose(step: Step[Any]) -> Decision:
        world.look(step)
        return decide(step, rules, default)

    return choose


def _counting(counter: str, world: World) -> Callable[..., Any]:
    def count(step: Step[Any]) -> None:
        world.look(step)
        step[counter] = step.get(counter, 0) + 1

    return count


def _filling(node: Map, world: World) -> Callable[..., Any]:
    def fill(step: Step[Any]) -> None:
        world.look(step)
        step[node.items] = tuple(mix(step.get("k0", 0), n) for n in range(node.size))

    return fill


def _item(work: Callable[..., Any], node: Map, world: World) -> Callable[..., Any]:
    if node.plain:
        return lambda step, item: work(step, item)

    async def slowly(step: Step[Any], item: int) -> None:
        await work(step, item)

    return slowly


def _forking(node: Fork, world: World) -> Callable[..., Any]:
    def choose(step: Step[Any]) -> list[str] | None:
        world.look(step)
        run_ops(step, node.ops, 0, world)
        if node.chosen is None:
            return None
        bits: int = step.get(node.chosen, 7)
        return [name for i, name in enumerate(node.names()) if bits >> i & 1]

    return choose


def _giving(node: Sub, world: World) -> Callable[..., Any]:
    def give(step: Step[Any]) -> int:
        world.look(step)
        return run_ops(step, node.ops, 1, world)

    return give
