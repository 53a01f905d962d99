from __future__ import annotations

import contextvars
import dataclasses
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from agentfootprint.errors import ConfigurationError
from agentfootprint.tools import Tool, ToolContext, tool


@tool
async def lookup_order(order_id: str) -> str:
    """Status and amount of an order, by its id."""
    return f"Order {order_id}: shipped, $299"


@tool(name="refund_order", description="Pays back.", approval="Pay back?", timeout=2.5, idempotent=True,
      capabilities=("payments",), max_result_chars=500)  # fmt: skip
def refund(order_id: str) -> str:
    """Never shown."""
    return f"refunded {order_id}"


def test_bare_it_takes_everything_from_the_function() -> None:
    assert (lookup_order.name, lookup_order.description) == (
        "lookup_order",
        "Status and amount of an order, by its id.",
    )
    assert (lookup_order.approval, lookup_order.timeout, lookup_order.idempotent) == (None, None, False)
    assert (lookup_order.capabilities, lookup_order.max_result_chars) == ((), None)
    assert lookup_order.is_async
    assert not lookup_order.wants_context


def test_with_options_it_has_them() -> None:
    assert (refund.name, refund.description, refund.approval) == ("refund_order", "Pays back.", "Pay back?")
    assert (refund.timeout, refund.idempotent, refund.capabilities) == (2.5, True, ("payments",))
    assert refund.max_result_chars == 500
    assert not refund.is_async
    assert refund.spec.name == "refund_order"
    assert refund.spec.description == "Pays back."


async def test_it_is_still_called_like_the_function() -> None:
    assert await lookup_order("A-1") == "Order A-1: shipped, $299"
    assert refund(order_id="A-1") == "refunded A-1"


def test_it_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        refund.name = "other"  # type: ignore[misc]


def test_the_spec_is_made_once() -> None:
    assert lookup_order.spec is lookup_order.spec


def test_the_fingerprint_follows_name_and_schema_but_not_the_code() -> None:
    def make(name: str, annotation: type, result: str) -> Tool[..., Any]:
        def function(value: Any) -> str:
            return result

        function.__annotations__["value"] = annotation
        return tool(name=name)(function)

    original = make("find", int, "a").fingerprint
    assert make("find", int, "b").fingerprint == original
    assert make("find", str, "a").fingerprint != original
    assert make("seek", int, "a").fingerprint != original


class TestMethods:
    class Orders:
        def __init__(self, status: str) -> None:
            self.status = status

        @tool(approval=True)
        async def lookup(self, order_id: str) -> str:
            """Status of an order."""
            return f"{order_id} {self.status}"

        @tool
        def count(self, ctx: ToolContext[Any], city: str) -> int:
            return len(city)

    async def test_in_a_class_body_it_becomes_a_method(self) -> None:
        shipped, lost = self.Orders("shipped"), self.Orders("lost")
        assert await shipped.lookup("A-1") == "A-1 shipped"
        assert await lost.lookup.invoke({"order_id": "A-2"}) == "A-2 lost"
        assert shipped.lookup.approval is True
        assert list(shipped.lookup.spec.schema["properties"]) == ["order_id"]
        assert shipped.lookup.spec.schema is lost.lookup.spec.schema

    def test_a_context_follows_self(self) -> None:
        made = self.Orders("x").count
        assert made.wants_context
        assert list(made.spec.schema["properties"]) == ["city"]

    def test_without_an_object_it_says_so(self) -> None:
        assert self.Orders.lookup.unbound
        assert not self.Orders("x").lookup.unbound

    def test_a_tool_kept_as_an_attribute_is_no_method(self) -> None:
        class Desk:
            lookup = lookup_order

        assert Desk().lookup is lookup_order


class TestInvoke:
    async def test_a_coroutine_function_runs_here_and_a_plain_one_in_a_thread(self) -> None:
        @tool
        async def here() -> int:
            return threading.get_ident()

        @tool
        def there() -> int:
            return threading.get_ident()

        assert await here.invoke({}) == threading.get_ident()
        assert await there.invoke({}) != threading.get_ident()

    async def test_the_context_goes_only_to_those_who_want_it(self) -> None:
        context = ToolContext.__new__(ToolContext)

        @tool
        async def wants(ctx: ToolContext[Any], n: int) -> Any:
            return ctx, n

        @tool
        def wants_too(ctx: ToolContext[Any], n: int) -> Any:
            return ctx, n

        @tool
        def does_not(n: int) -> Any:
            return n

        assert await wants.invoke({"n": 1}, context) == (context, 1)
        assert await wants_too.invoke({"n": 1}, context) == (context, 1)
        assert await does_not.invoke({"n": 1}, context) == 1

    async def test_context_variables_reach_the_thread(self) -> None:
        tenant = contextvars.ContextVar("tenant", default="nobody")

        @tool
        def who() -> str:
            return tenant.get()

        tenant.set("acme")
        assert await who.invoke({}) == "acme"

    async def test_a_plain_function_that_gives_back_a_coroutine_is_awaited(self) -> None:
        async def work() -> str:
            return "done"

        def wraps() -> Any:
            return work()

        assert await tool(wraps).invoke({}) == "done"

    async def test_what_the_function_raises_comes_out(self) -> None:
        @tool
        def fails() -> None:
            raise LookupError("no such order")

        with pytest.raises(LookupError, match="no such order"):
            await fails.invoke({})


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "look up", "größe", "a" * 65, "a.b", "a\n"])
    def test_names_vendors_do_not_take(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=r"1 to 64 letters, digits, '_' or '-'"):
            tool(name=name)(lambda: None)

    def test_a_lambda_needs_a_name(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'<lambda>'.*@tool\(name=\.\.\.\)"):
            tool(lambda: None)
        assert tool(name="nothing")(lambda: None).name == "nothing"

    def test_a_name_in_the_place_of_the_function(self) -> None:
        with pytest.raises(ConfigurationError, match=r"takes a function.*@tool\(name="):
            tool("lookup")  # type: ignore[call-overload]

    def test_a_tool_of_a_tool(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'lookup_order' is a tool already"):
            tool(lookup_order)

    def test_generators(self) -> None:
        def many() -> Iterator[int]:
            yield 1

        async def many_async() -> AsyncIterator[int]:
            yield 1

        for function in (many, many_async):
            with pytest.raises(ConfigurationError, match=r"yields.*progress"):
                tool(function)

    def test_options_that_make_no_sense(self) -> None:
        async def ask(arguments: Mapping[str, Any]) -> bool:
            return True

        def make(**options: Any) -> None:
            tool(name="t", **options)(lambda: None)

        with pytest.raises(ConfigurationError, match="timeout=0 must be more than 0 seconds"):
            make(timeout=0)
        with pytest.raises(ConfigurationError, match=r"timeout=nan"):
            make(timeout=float("nan"))
        with pytest.raises(ConfigurationError, match=r"capabilities=\('payments',\)"):
            make(capabilities="payments")
        with pytest.raises(ConfigurationError, match="max_result_chars=0 must be at least 1"):
            make(max_result_chars=0)
        with pytest.raises(ConfigurationError, match=r"approval=1\.5 is neither"):
            make(approval=1.5)
        with pytest.raises(ConfigurationError, match="question in approval= is empty"):
            make(approval="")
        with pytest.raises(ConfigurationError, match="plain def"):
            make(approval=ask)
