"""The support agent. `agentfootprint chat agentfootprint.demo.app:agent --tenant alpine` talks to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentfootprint import Agent, ToolContext, tool
from agentfootprint.errors import ToolError
from agentfootprint.memory import Memory, SQLiteStore, Window
from agentfootprint.state import SQLiteState

from .model import support_model
from .orders import Order, Orders

__all__ = ["FOLDER", "agent", "build_agent"]

FOLDER = Path("demo-data")


def instructions(run: Any) -> str:
    return f"You work at the support desk of {run.identity.tenant}. Look orders up before you speak of them."


def refund_question(arguments: Mapping[str, Any]) -> str:
    return f"Refund order {arguments['order_id']} ({arguments['amount']} EUR)? {arguments['reason']}"


class Desk:
    """What the model may do. Whose orders it sees, the identity of the run decides, not the model."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders

    @tool
    def lookup_order(self, ctx: ToolContext[None], order_id: str) -> Order:
        """Item, amount and status of an order, by its id."""
        order = self.orders.find(tenant_of(ctx), order_id)
        if order is None:
            raise ToolError(f"There is no order {order_id}.")
        return order

    @tool
    def find_orders(self, ctx: ToolContext[None], customer: str) -> list[Order]:
        """The newest orders of a customer, by full name."""
        return self.orders.newest(tenant_of(ctx), customer)

    @tool(approval=refund_question, idempotent=True)
    def refund_order(self, ctx: ToolContext[None], order_id: str, amount: str, reason: str) -> str:
        """Pays an order back in full. A person approves it first."""
        order = self.lookup_order(ctx, order_id)
        if order.amount != amount:
            raise ToolError(f"Order {order_id} cost {order.amount} EUR, not {amount} EUR.")
        number = self.orders.refund(tenant_of(ctx), order_id, reason, key=f"{ctx.run_id}/{ctx.call_id}")
        if number is None:
            raise ToolError(f"Order {order_id} was refunded before.")
        return f"Refund R-{number}: {amount} EUR for order {order_id}, paid back to {order.customer}."


def tenant_of(ctx: ToolContext[None]) -> str:
    if ctx.identity is None or ctx.identity.tenant is None:
        raise ToolError("Orders belong to a shop, and this run names none.")
    return ctx.identity.tenant


def build_agent(folder: Path) -> Agent[None, str]:
    """The agent over the files of a folder. Every process that builds it there works on the same data."""
    folder.mkdir(exist_ok=True)
    desk = Desk(Orders(folder / "orders.db"))
    kept = folder / "support.db"  # memory, conversations and claims, all in one file
    return Agent(
        name="support",
        provider=support_model(),  # any object with complete() and stream() goes here
        system=instructions,
        tools=[desk.lookup_order, desk.find_orders, desk.refund_order],
        memory=[Memory("desk", scope="principal", strategy=Window(5), store=SQLiteStore(kept))],
        state=SQLiteState(kept),
        max_iterations=8,
    )


def agent() -> Agent[None, str]:
    """What the command line is given: built when it is called, so that an import writes no file."""
    return build_agent(FOLDER)
