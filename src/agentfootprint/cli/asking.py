"""Questions of a paused run: shown to a person, answered on the terminal or on the command line."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from ..agent.resuming import fitting
from ..errors import AnswerInvalid
from ..flow import Ask
from ..flow.codec import encode
from ..tools.dispatch import APPROVAL_SCHEMA
from .terminal import printable, read_line

__all__ = ["ask_all", "given_answers", "login_name", "parsed"]

_YES_OR_NO = {"type": "boolean"}


def ask_all(console: Console, asks: Sequence[Ask]) -> dict[str, Any]:
    """Asks each question until its answer fits. One whose time is over is shown, and gets no answer.

    Raises:
        EOFError, KeyboardInterrupt: the person does not want to answer.
    """
    answers = {}
    for ask in asks:
        if ask.expires_at is not None and ask.expires_at <= time.time():
            console.print(Text(f"Nobody answered in time: {printable(ask.question)}", style="yellow"))
        else:
            answers[ask.id] = _ask(console, ask)
    return answers


def _ask(console: Console, ask: Ask) -> Any:
    console.print(_shown(ask))
    if ask.schema == APPROVAL_SCHEMA:
        if _yes(console, "Approve?"):
            return {"approved": True}
        reason = read_line(
            console, Text("Reason, which the model reads (optional): ", style="yellow")
        ).strip()
        return {"approved": False, "reason": reason} if reason else {"approved": False}
    if ask.schema is not None and ask.schema.get("type") == "boolean":
        return _yes(console, "Yes?")
    while True:
        text = read_line(console, Text("Answer: ", style="yellow")).strip()
        if not text:
            console.print(Text("It needs an answer; Ctrl-D leaves the question open.", style="dim"))
            continue
        try:
            return parsed(ask, text)
        except AnswerInvalid as error:
            console.print(Text(printable(str(error)), style="red"))


def _yes(console: Console, prompt: str) -> bool:
    while True:
        text = read_line(console, Text(f"{prompt} [y/N] ", style="bold yellow")).strip().casefold()
        if text in ("y", "yes"):
            return True
        if text in ("", "n", "no"):
            return False
        console.print(Text("Answer y or n.", style="dim"))


def _shown(ask: Ask) -> Panel:
    """The question with everything it is about, uncut: a person is responsible for what they approve."""
    parts = [Text(printable(ask.question), style="bold")]
    if ask.arguments:
        parts.append(Text("\n") + _fields(ask.arguments))
    if ask.data is not None:
        data = ask.data if isinstance(ask.data, Mapping) else {"data": ask.data}
        parts.append(Text("\n") + _fields(data))
    if ask.schema not in (None, APPROVAL_SCHEMA, _YES_OR_NO):
        parts.append(Text(f"\nThe answer must fit {_json(ask.schema)}", style="dim"))
    if ask.expires_at is not None:
        until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ask.expires_at))
        parts.append(Text(f"\nAnswer before {until}.", style="dim"))
    title = Text(printable(ask.tool or "question"), style="bold yellow")
    return Panel(Group(*parts), title=title, title_align="left", border_style="yellow", padding=(0, 1))


def _fields(values: Mapping[str, Any]) -> Text:
    width = max(len(name) for name in values) if values else 0
    lines = []
    for name, value in values.items():
        told = value if isinstance(value, str) else _json(value)
        indented = printable(told).replace("\n", "\n" + " " * (width + 2))
        lines.append(Text.assemble((f"{printable(name):{width}}  ", "dim"), indented))
    return Text("\n").join(lines)


def _json(value: Any) -> str:
    return json.dumps(encode(value), ensure_ascii=False)


def parsed(ask: Ask, text: str) -> Any:
    """A typed answer: JSON where it is JSON and fits, else the text itself.

    Raises:
        AnswerInvalid: neither fits the question's schema.
    """
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return fitting(ask, text)
    try:
        return fitting(ask, value)
    except AnswerInvalid as error:
        try:
            return fitting(ask, text)
        except AnswerInvalid:
            raise error from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def given_answers(
    asks: Sequence[Ask], given: Sequence[str], *, approve: bool, reject: bool
) -> dict[str, Any] | None:
    """The answers of the command line by the ids of their questions; None when it has none.

    Raises:
        AnswerInvalid: they do not fit the open questions, which the message lists.
    """
    if approve or reject:
        if given or (approve and reject):
            raise AnswerInvalid("give one of --approve, --reject and --answer")
        if len(asks) != 1:
            raise AnswerInvalid(
                f"--approve and --reject answer one question, {len(asks)} are open: "
                f"use --answer ID=JSON for each. {_listed(asks)}"
            )
        return {asks[0].id: approve}
    if not given:
        return None
    open_asks = {ask.id: ask for ask in asks}
    answers = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in open_asks:
            raise AnswerInvalid(f"--answer {text!r} is not ID=JSON of an open question. {_listed(asks)}")
        answers[name] = parsed(open_asks[name], value)
    return answers


def _listed(asks: Sequence[Ask]) -> str:
    if not asks:
        return "No question is open."
    return "Open: " + "; ".join(f"{ask.id} ({ask.question})" for ask in asks)


def login_name() -> str | None:
    """Who sits at the terminal, for the record of who answered."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
