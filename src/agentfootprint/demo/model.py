"""A stand-in for a language model: it reads the conversation and follows a few rules. No key, no network.

It knows no order. What it says comes from the results of the tools it asked for, and from the messages in
front of it, which is where a remembered conversation shows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from agentfootprint.errors import ConfigurationError
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import HTTPOpenAIProvider, LLMProvider, MockProvider
from agentfootprint.providers.mock import Reply

from . import local_model
from .wording import Worded

__all__ = ["support_model"]

ORDER_ID = re.compile(r"\b[A-Z]-\d{4}\b")
CUSTOMER = re.compile(r"\b(?:did|of|has|for) ([A-Z]\w+ [A-Z]\w+)")

HELP = "I can look up orders and refund them. Which order, or whose, is it about?"


def support_model() -> LLMProvider:
    """The model that the environment's DEMO_MODEL names: none or "local"."""
    chosen = os.environ.get("DEMO_MODEL", "")
    if chosen not in ("", "local"):
        raise ConfigurationError(f"DEMO_MODEL can be local, or not be set; it is {chosen!r}")
    scripted = MockProvider(respond=respond, latency=0.05, name="scripted", model="support-desk")
    if not chosen:
        return scripted
    url = f"{local_model.shared_url()}/v1"
    return Worded(scripted, HTTPOpenAIProvider(local_model.NAME, base_url=url, name="llama.cpp"))


def respond(request: LLMRequest) -> Reply:
    """The next thing to say or to do."""
    if not request.tools:
        return HELP
    question = next(message for message in reversed(request.messages) if message.role == "user")
    last = request.messages[-1]
    if last.role == "tool":
        return after_tool(last, question)
    if customer := CUSTOMER.search(question.text):
        return MockProvider.call("find_orders", customer=customer[1])
    if order_id := last_order_id(request.messages):
        return MockProvider.call("lookup_order", order_id=order_id)
    return HELP


def after_tool(result: Message, question: Message) -> Reply:
    if result.is_error:
        return f"I am sorry. {result.text}"
    if result.name == "refund_order":
        return f"Done. {result.text}"
    found = json.loads(result.text)
    if result.name == "find_orders":
        return listed(found)
    if "refund" in question.text.lower() and found["status"] != "refunded":
        reason = question.text.partition(": ")[2] or "No reason given."
        return MockProvider.call(
            "refund_order", order_id=found["order_id"], amount=found["amount"], reason=reason.capitalize()
        )
    return told(found)


def last_order_id(messages: Iterable[Message]) -> str | None:
    """The order that was spoken of last, in this conversation or in a remembered one."""
    spoken = " ".join(message.text for message in messages if message.role != "tool")
    found = ORDER_ID.findall(spoken)
    return found[-1] if found else None


def told(order: dict[str, Any]) -> str:
    status = (
        f"was delivered on {order['delivered']}"
        if order["status"] == "delivered"
        else f"is {order['status']}"
    )
    return (
        f"Order {order['order_id']} ({order['item']}, {order['amount']} EUR, {order['customer']}) {status}."
    )


def listed(orders: list[dict[str, Any]]) -> str:
    if not orders:
        return "I find no orders of that customer."
    return "The newest orders: " + "; ".join(
        f"{order['order_id']}, {order['item']}, {order['status']}" for order in orders
    )
