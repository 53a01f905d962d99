"""Permissions by role: lists of what each role may do, with conditions on arguments; all else is denied."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

from ..errors import ConfigurationError
from ..flow.rules import Check
from ..identity import MemoryIdentity
from .base import STRENGTH, PermissionRequest, Verdict, names

__all__ = ["Allow", "Ask", "Deny", "Halt", "PermissionPolicy", "Role", "Rule"]

Role: TypeAlias = "str | Callable[[MemoryIdentity | None], str | Sequence[str] | None]"
"""A role, or a function of the identity that says which it has: one, several, or none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a role may or must not do; made as `Allow`, `Ask`, `Deny` or `Halt`.

    Args:
        tool: the exact name of a tool.
        capability: instead, what tools declare (`@tool(capabilities=("payments",))`).
        when: by argument, what must hold, such as `{"amount": le(100)}` with the checks of
            `agentfootprint.flow`. An argument that was not sent fulfils no condition of an `Allow`, and every
            one of the others: a call is not let through because it says less.
        wording: what the model reads when it is denied, or the person when one is asked.
        id: names the rule in records; made of the above unless given.

    Raises:
        ConfigurationError: it names no tool and no capability, or both, or a condition is no check.
    """

    tool: str | None = None
    capability: str | None = None
    when: Mapping[str, Check] = field(default_factory=dict)
    wording: str | None = None
    id: str = ""
    verdict: Verdict = field(init=False, repr=False, compare=False)
    kind: ClassVar[Literal["allow", "deny", "ask", "halt"]]

    def __post_init__(self) -> None:
        named: list[Any] = [each for each in (self.tool, self.capability) if each is not None]
        if len(named) != 1 or not isinstance(named[0], str) or not named[0]:
            raise ConfigurationError(
                f"{type(self).__name__}(...) is about one tool or one capability: "
                f"{type(self).__name__}('refund') or {type(self).__name__}(capability='payments')"
            )
        if not isinstance(self.when, Mapping):
            raise ConfigurationError(
                f"{type(self).__name__}({named[0]!r}): when= takes checks by argument, {{'amount': le(100)}}"
            )
        for argument, check in self.when.items():
            if not isinstance(check, Check):
                raise ConfigurationError(
                    f"{type(self).__name__}({named[0]!r}): the condition on {argument!r} is "
                    f"{type(check).__name__}, not a check: use le(100), one_of('a', 'b') or check(...)"
                )
        object.__setattr__(self, "when", MappingProxyType(dict(self.when)))
        if not self.id:
            object.__setattr__(self, "id", self._described())
        object.__setattr__(self, "verdict", self.said({}))

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Whether its conditions hold. One that cannot be checked does, unless that would allow something."""
        for argument, check in self.when.items():
            try:
                value = arguments[argument]
                # Against NaN every comparison is false, so that no bound would hold it.
                held = self.kind != "allow" if _is_nan(value) else check.holds(value)
                if held is not True and held is not False:
                    held = _decided(held)
            except Exception:
                held = self.kind != "allow"
            if not held:
                return False
        return True

    def said(self, arguments: Mapping[str, Any]) -> Verdict:
        """The verdict, with what was compared, but without the values, which may be anybody's."""
        evidence = tuple(
            f"{argument} {check.text}{'' if argument in arguments else ' (not sent)'}"
            for argument, check in self.when.items()
        )
        until = self.expires_in if isinstance(self, Ask) else None
        return Verdict(self.kind, self.id, wording=self.wording, evidence=evidence, expires_in=until)

    def _described(self) -> str:
        what = self.tool if self.tool is not None else f"capability {self.capability}"
        conditions = " and ".join(f"{argument} {check.text}" for argument, check in self.when.items())
        return f"{self.kind} {what}{f' when {conditions}' if conditions else ''}"


class Allow(Rule):
    """The call runs."""

    __slots__ = ()
    kind = "allow"


@dataclass(frozen=True, slots=True)
class Ask(Rule):
    """A person is asked first. After `expires_in` seconds an approval is refused."""

    expires_in: float | None = None
    kind: ClassVar[Literal["ask"]] = "ask"


class Deny(Rule):
    """The call does not run, whatever allows it."""

    __slots__ = ()
    kind = "deny"


class Halt(Rule):
    """The run ends, whatever allows the call."""

    __slots__ = ()
    kind = "halt"


class PermissionPolicy:
    """What roles may do. Made by `from_roles`; never changes.

    Of several rules that hold for a call, the strictest decides: halt before deny, ask, allow. What no rule
    allows is denied, and not shown to the model.
    """

    __slots__ = ("_known", "_role", "_roles")

    def __init__(self, roles: Mapping[str, tuple[Rule, ...]], role: Role | None) -> None:
        self._roles = MappingProxyType(dict(roles))
        self._known = {
            name: (_by("tool", rules), _by("capability", rules)) for name, rules in self._roles.items()
        }
        self._role = role
        if isinstance(role, str) and role not in self._roles:
            raise ConfigurationError(f"there is no role {role!r}, only {', '.join(map(repr, self._roles))}")
        if role is not None and not isinstance(role, str) and not callable(role):
            raise ConfigurationError(f"role= must be a role or a function, not {type(role).__name__}")
        if inspect.iscoroutinefunction(role):
            raise ConfigurationError("role= is asked without waiting, for every call: make it a plain def")

    @classmethod
    def from_roles(
        cls, roles: Mapping[str, Iterable[str | Rule]], *, role: Role | None = None
    ) -> PermissionPolicy:
        """A policy of what each role may do.

        Args:
            roles: by role, the exact names of tools, and rules (`Allow`, `Ask`, `Deny`, `Halt`).
            role: which role a run has: a function of its identity, asked for each run; or one for all runs,
                as `with_active_role` sets. An unknown role from a function may do nothing.

        Raises:
            ConfigurationError: there is no such role, or what stands in a list is no rule.
        """
        if not isinstance(roles, Mapping):
            raise ConfigurationError(f"from_roles takes lists by role, not {type(roles).__name__}")
        if not roles:
            raise ConfigurationError("from_roles({}) lets nobody do anything: name a role and its tools")
        return cls(
            {name: tuple(_rule(name, each) for each in _several(name, what)) for name, what in roles.items()},
            role,
        )

    def with_active_role(self, role: str) -> PermissionPolicy:
        """The same policy for runs of one role.

        Raises:
            ConfigurationError: there is no such role.
        """
        return PermissionPolicy(self._roles, role)

    @property
    def roles(self) -> Mapping[str, tuple[Rule, ...]]:
        return self._roles

    def roles_of(self, identity: MemoryIdentity | None) -> tuple[str, ...]:
        """The roles that an identity has, as `role=` says."""
        if self._role is None:
            return ()
        said: Any = self._role if isinstance(self._role, str) else self._role(identity)
        if isinstance(said, Mapping):
            # Its names would all be roles, also those it says no to.
            raise TypeError("role= gives the names of roles, not a mapping")
        return names(said)

    def offers(self, tool: str, capabilities: Sequence[str], identity: MemoryIdentity | None) -> bool:
        """Whether any call of a tool could run."""
        may = False
        for rules in self._about(tool, capabilities, identity):
            for rule in rules:
                if rule.kind in ("allow", "ask"):
                    may = True
                elif not rule.when:
                    return False
        return may

    def check(self, request: PermissionRequest) -> Verdict:
        """The verdict of the strictest rule that holds; without one, a denial. Of equally strict ones it is
        that which names the tool."""
        found: Rule | None = None
        for rules in self._about(request.tool, request.capabilities, request.identity):
            for rule in rules:
                if found is not None and STRENGTH[rule.kind] >= STRENGTH[found.kind]:
                    break
                if rule.holds(request.arguments):
                    found = rule
                    break
        if found is None:
            roles = ", ".join(map(repr, self.roles_of(request.identity))) or "no role"
            return Verdict("deny", "default", f"no rule of {roles} allows it")
        return found.verdict if not found.when else found.said(request.arguments)

    def _about(
        self, tool: str, capabilities: Sequence[str], identity: MemoryIdentity | None
    ) -> Iterable[Sequence[Rule]]:
        """The rules about a tool: in each part the strictest first."""
        for role in self.roles_of(identity):
            if (known := self._known.get(role)) is not None:
                by_tool, by_capability = known
                if tool in by_tool:
                    yield by_tool[tool]
                for capability in capabilities if by_capability else ():
                    if capability in by_capability:
                        yield by_capability[capability]

    def __repr__(self) -> str:
        return f"<PermissionPolicy of {', '.join(self._roles)}>"


def _by(what: str, rules: Sequence[Rule]) -> Mapping[str, Sequence[Rule]]:
    """Rules by what they are about, the strictest first."""
    found: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: STRENGTH[rule.kind]):
        if (name := getattr(rule, what)) is not None:
            found.setdefault(name, []).append(rule)
    return found


def _decided(held: Any) -> bool:
    if inspect.isawaitable(held):
        if inspect.iscoroutine(held):
            held.close()
        raise TypeError("a condition is asked without waiting")
    return bool(held)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | Decimal) and value != value


def _several(role: str, what: Iterable[str | Rule]) -> Iterable[str | Rule]:
    if isinstance(what, (str, Rule)) or not isinstance(what, Iterable):
        raise ConfigurationError(f"role {role!r}: give a list, [{what!r}]")
    return what


def _rule(role: str, what: str | Rule) -> Rule:
    if isinstance(what, Rule) and type(what) is not Rule:
        return what
    if isinstance(what, str):
        return Allow(what)
    raise ConfigurationError(
        f"role {role!r}: {what!r} is neither the name of a tool nor Allow(...), Ask(...), Deny(...) or "
        "Halt(...)"
    )
