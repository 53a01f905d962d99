"""The record of a run, to be read: state, reasons, sentences, pictures, files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputInvalid, JournalInvalid, ReplayRefused
from .again import WITHHELD
from .codec import portable
from .journal import StepRecord, Version, version_id
from .nested import Nested, nested_in
from .reading import load_rows
from .redaction import hidden, hiding
from .rows import opener_id, step_rows
from .seq import Seq
from .slices import Slice, backward, forward, origin

if TYPE_CHECKING:
    from .chart import Flow
    from .run import Run

__all__ = ["FORMAT", "Footprint"]

FORMAT = 1
"""Version of the file form (`*.footprint.jsonl`)."""

_HEADER = {"flow": (str,), "hash": (str,), "run": (str,), "started": (int, float), "redacted": (bool,)}


class Footprint:
    """What happened in a run.

    It is read from the journal, live or from a file, and holds nothing of its own. With its flow (`code`)
    at hand, it can be run again, and told in the words of that kind of flow.
    """

    def __init__(
        self,
        steps: list[StepRecord],
        *,
        flow: str,
        flow_hash: str,
        run_id: str,
        started: float,
        status: str,
        code: Flow[Any] | None = None,
        redacted: bool = False,
        truncated: bool = False,
    ) -> None:
        self.steps = steps
        self.flow = flow
        self.flow_hash = flow_hash
        self.run_id = run_id
        self.started = started
        self.status = status
        self.redacted = redacted
        self.truncated = truncated
        self.code = code
        self._index: dict[str, StepRecord] | None = None

    # ── finding ─────────────────────────────────────────────────────────────────────────────────

    def step(self, step_id: str) -> StepRecord:
        """The step with this id, such as `route#2`.

        Raises:
            InputInvalid: there is none; the message lists what there is.
        """
        if self._index is None or len(self._index) != len(self.steps):
            self._index = {step.id: step for step in self.steps}
        found = self._index.get(step_id)
        if found is None:
            near = [name for name in self._index if name.startswith(step_id.partition("#")[0])]
            listed = ", ".join((near or list(self._index))[:12])
            raise InputInvalid(f"there is no step {step_id!r} in this run; there is: {listed}")
        return found

    def id_of(self, version: Version) -> str:
        return version_id(self.steps[version.step], version)

    @property
    def state(self) -> dict[str, Any]:
        """The final value of every key."""
        return {key: version.value for key, version in self._view("", None).items()}

    def at(self, step_id: str) -> dict[str, Any]:
        """The value of every key as the step saw it when it began."""
        step = self.step(step_id)
        return {key: version.value for key, version in self._view(step.path, step).items()}

    def version(self, key: str, *, at: str | None = None) -> Version:
        """The version of a key at the end, or as the step `at` saw it when it began."""
        if at is None:
            for step in reversed(self.steps):
                if not step.path and step.status == "done":
                    for version in reversed(step.writes):
                        if version.key == key:
                            return version
            view = self._view("", None)
        else:
            before = self.step(at)
            view = self._view(before.path, before)
            if key in view:
                return view[key]
        raise InputInvalid(f"nothing has written {key!r} there; there is: {', '.join(view)}")

    def who_wrote(self, key: str) -> list[StepRecord]:
        """The steps that wrote a key, oldest first."""
        numbers = {v.step for step in self.steps for v in step.writes if v.key == key}
        return [self.steps[number] for number in sorted(numbers)]

    def _view(self, path: str, before: StepRecord | None) -> dict[str, Version]:
        """A frame's state just before a step (None: at its end), told from the writes alone."""
        opener = self._opener(path)
        if opener is None:
            view: dict[str, Version] = {}
        elif any(step.path == path and step.node == "input" for step in self.steps):
            view = {}  # a sub-flow begins with its own input
        else:
            view = self._view(opener.path, opener)
            # What the opener wrote before the frame began; what it joined came later.
            for version in opener.writes:
                if version.step == opener.number and version.verb in ("set", "append"):
                    view[version.key] = version
        for step in self.steps:
            if step is before:
                break
            if step.path == path and step.status == "done" and not _item(step):
                for version in step.writes:
                    view[version.key] = version
        return view

    def _opener(self, path: str) -> StepRecord | None:
        opener = opener_id(path)
        return None if opener is None else self.step(opener)

    @property
    def nested(self) -> dict[str, Footprint]:
        """The records of the agents and flows that tools of this run have run, by the id of the step that
        did: `footprint.nested["call_tools#0[0]"].narrative()`."""
        calls = ((step.id, nested_in(step)) for step in self.steps)
        return {
            step_id: Nested.of(call.result, self.code).footprint
            for step_id, call in calls
            if call is not None and call.result is not WITHHELD
        }

    # ── reasons ─────────────────────────────────────────────────────────────────────────────────

    def slice(
        self, key: str, index: int | None = None, *, at: str | None = None, limit: int = 10_000
    ) -> Slice:
        """What a value (or one item of a growing list) rests on, as a graph."""
        version = self.version(key, at=at)
        if index is None:
            return backward(self.steps, version, limit=limit)
        return backward(self.steps, _item_of(version, index), prefix=False, limit=limit)

    def impact(self, version: Version | str, *, limit: int = 10_000) -> Slice:
        """What rests on a version (or on the final version of a key)."""
        found = self.version(version) if isinstance(version, str) else version
        return forward(self.steps, found, limit=limit)

    def why(self, key: str, index: int | None = None, *, at: str | None = None, limit: int = 40) -> str:
        """What a value rests on, in plain sentences, nearest first."""
        from .telling import tell_slice

        with hiding(self.steps):
            if self.code is not None and self.code.explainer is not None:
                version = self.version(key, at=at)
                if index is not None:
                    _item_of(version, index)
                return str(hidden(self.code.explainer(self, version, index, limit)))
            return str(hidden(tell_slice(self, self.slice(key, index, at=at, limit=limit))))

    def narrative(self) -> str:
        """What happened, step by step, in plain sentences."""
        from .telling import tell_run

        tell = tell_run if self.code is None or self.code.narrator is None else self.code.narrator
        with hiding(self.steps):
            return str(hidden(tell(self)))

    def to_mermaid(self) -> str:
        """The walk as a Mermaid flowchart: steps in order, decisions with the rule that matched."""
        from .telling import to_mermaid

        return to_mermaid(self)

    # ── running again ───────────────────────────────────────────────────────────────────────────

    async def replay(self, flow: Flow[Any] | None = None, *, deps: Any = None) -> Run:
        """Runs the record again without any effect. A footprint from a file needs the flow."""
        from .replay import replay

        return await replay(self._code(flow), self, deps=deps)

    async def fork(
        self,
        flow: Flow[Any] | None = None,
        *,
        at: str,
        set: Mapping[str, Any],  # noqa: A002 - what the caller changes
        deps: Any = None,
        effects: Literal["recorded", "live"] = "recorded",
    ) -> Run:
        """Runs the record again up to the step `at`, changes state there, and goes on."""
        from .replay import fork

        return await fork(self._code(flow), self, at=at, set=set, deps=deps, effects=effects)

    def _code(self, flow: Flow[Any] | None) -> Flow[Any]:
        found = flow if flow is not None else self.code
        if found is None:
            raise ReplayRefused("a footprint from a file does not hold the code: pass the flow")
        return found

    # ── files ───────────────────────────────────────────────────────────────────────────────────

    def to_jsonl(self, *, redact: bool = True) -> str:
        """The record as JSON Lines: a header, a row per step, an end. Secrets are left out unless
        `redact=False`; only an unredacted record can be replayed."""
        return "".join(portable(row) + "\n" for row in self.rows(redact=redact))

    def rows(self, *, redact: bool = True) -> Iterable[dict[str, Any]]:
        rows = step_rows(self.steps, redact=redact)
        hidden = self.redacted or any(_redacts(row) for row in rows)
        yield {
            "footprint": FORMAT,
            "flow": self.flow,
            "hash": self.flow_hash,
            "run": self.run_id,
            "started": round(self.started, 6),
            "redacted": hidden,
        }
        yield from rows
        yield {"end": self.status}

    def save(self, path: str | os.PathLike[str], *, redact: bool = True) -> None:
        """Writes the record to a file, by convention `*.footprint.jsonl`."""
        # Text from outside may hold lone surrogates, which strict UTF-8 refuses.
        with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
            for row in self.rows(redact=redact):
                file.write(portable(row) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str], flow: Flow[Any] | None = None) -> Footprint:
        """Reads a file. A torn last line is dropped, the rest reads. With the flow, values get their
        declared types back; without it they are plain JSON.

        Raises:
            JournalInvalid: the file is no footprint, or of a newer form.
        """
        # As bytes: the torn end of a file may be half a character.
        with open(path, "rb") as file:
            return cls.from_lines(file, flow)

    @classmethod
    def from_lines(cls, lines: Iterable[str | bytes], flow: Flow[Any] | None = None) -> Footprint:
        from .snapshot import key_types

        rows: list[dict[str, Any]] = []
        torn: str | None = None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if torn is not None:
                raise JournalInvalid(torn)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                torn = f"line {number} is no JSON"
                continue
            if not isinstance(row, dict):
                raise JournalInvalid(f"line {number} is no row of a footprint")
            rows.append(row)
        if not rows or "footprint" not in rows[0]:
            raise JournalInvalid("this is no footprint: its first line is not the header of one")
        head = rows[0]
        if head["footprint"] != FORMAT:
            form = str(head["footprint"])[:20]
            raise JournalInvalid(f"the footprint has form {form}, this version reads {FORMAT}")
        for name, kinds in _HEADER.items():
            if type(head.get(name)) not in kinds:
                raise JournalInvalid(f"the header of this footprint has no {name!r} that can be read")
        ended = [str(row["end"]) for row in rows[1:] if "end" in row and "step" not in row]
        body = [row for row in rows[1:] if "step" in row or "blob" in row]
        known: Any = {} if flow is None else {"type_of": key_types(flow)}
        return cls(
            load_rows(body, **known),
            flow=head["flow"],
            flow_hash=head["hash"],
            run_id=head["run"],
            started=float(head["started"]),
            code=flow,
            status=ended[-1] if ended else "running",
            redacted=head["redacted"],
            truncated=torn is not None or not ended,
        )

    def __repr__(self) -> str:
        return f"<Footprint of {self.flow}: {len(self.steps)} steps, {self.status}>"


def _item_of(version: Version, index: int) -> Version:
    """The version that put this item into a growing list."""
    key = version.key
    if type(version.value) is not Seq:
        raise InputInvalid(f"{key!r} is no growing list here: ask for it as a whole, without an item")
    size = len(version.value)
    if not -size <= index < size:
        raise InputInvalid(f"{key!r} has {size} items, there is no item {index}")
    return origin(version, index % size)


def _item(step: StepRecord) -> bool:
    return step.path.endswith("]")


def _redacts(row: Mapping[str, Any]) -> bool:
    return any(
        isinstance(entry, dict) and entry.get("redacted")
        for part in ("writes", "calls", "events", "asks")
        for entry in row.get(part, ())
    )
