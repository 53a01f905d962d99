"""The commands, their options and their exit codes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..identity import MemoryIdentity
from .codes import EXIT_CODES, INTERRUPTED, exit_code
from .terminal import consoles, tell_error

__all__ = ["app"]

app = typer.Typer(
    name="agentfootprint",
    help="Talk to an agent, run it once, and see why it did what it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_APP = "module:attribute or path/to/file.py:attribute; an Agent, or a function that returns one."

AppArgument = Annotated[str, typer.Argument(metavar="APP:AGENT", help=_APP, show_default=False)]
Tenant = Annotated[str | None, typer.Option(help="Whose data the run may touch.", rich_help_panel="Identity")]
Principal = Annotated[str | None, typer.Option(help="The person it is for.", rich_help_panel="Identity")]
Conversation = Annotated[
    str | None, typer.Option(help="The conversation to continue.", rich_help_panel="Identity")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"agentfootprint {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Talk to an agent, run it once, and see why it did what it did."""


@app.command(epilog=EXIT_CODES)
def run(
    target: AppArgument,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help='What to ask; "-" reads standard input.', show_default=False),
    ] = None,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with everything about the run.")
    ] = False,
    footprint: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the record of the run there.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="When a person is asked: do not ask here, write the paused run there.",
            rich_help_panel="Questions to a person",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            dir_okay=False,
            help="Go on with the paused run that was written there.",
            rich_help_panel="Questions to a person",
        ),
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=JSON",
            help="The answer to a question; once for each.",
            rich_help_panel="Questions to a person",
        ),
    ] = None,
    approve: Annotated[
        bool,
        typer.Option(
            "--approve", help="Say yes to the one question.", rich_help_panel="Questions to a person"
        ),
    ] = False,
    reject: Annotated[
        bool,
        typer.Option("--reject", help="Say no to the one question.", rich_help_panel="Questions to a person"),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who answers, for the record; your login name if not given.",
            rich_help_panel="Questions to a person",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """One turn. The answer goes to standard output, everything else to standard error."""

    def work() -> int:
        from .run import RunOptions, run_once

        return run_once(
            RunOptions(
                target=target,
                prompt=prompt,
                identity=_identity(tenant, principal, conversation),
                as_json=as_json,
                footprint=footprint,
                checkpoint=checkpoint,
                resume=resume,
                answers=answer or (),
                approve=approve,
                reject=reject,
                by=by,
            )
        )

    _end(work, debug)


@app.command()
def chat(
    target: AppArgument,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    debug: Debug = False,
) -> None:
    """Talk to an agent in the terminal. With an identity the agent's stores continue the conversation."""

    def work() -> int:
        from .chat import chat as talk

        return talk(target, _identity(tenant, principal, conversation), debug=debug)

    _end(work, debug)


@app.command(epilog=EXIT_CODES)
def replay(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FOOTPRINT",
            exists=True,
            dir_okay=False,
            help="A *.footprint.jsonl file.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(metavar="APP:AGENT", help=f"The code that ran. {_APP}", show_default=False),
    ] = None,
    fork_at: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Change the state before this step, and go on from there."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=JSON", help="What to change; once for each key."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Let a fork call the model and the tools for real.")
    ] = False,
    why: Annotated[
        str | None,
        typer.Option(metavar="KEY[:INDEX]", help="Tell what a value, or one item of a list, rests on."),
    ] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the walk as a Mermaid chart.")] = False,
    debug: Debug = False,
) -> None:
    """Tell a recorded run. With the code that ran: run it again without any effect, or fork it."""

    def work() -> int:
        from .replay import ReplayOptions, replay_file

        return replay_file(ReplayOptions(path, target, fork_at, changes or (), live, why, mermaid))

    _end(work, debug)


memories = typer.Typer(
    help="See, export and forget what an agent's memories keep of somebody.", no_args_is_help=True
)
app.add_typer(memories, name="memory")

Only = Annotated[str | None, typer.Option("--memory", metavar="ID", help="One of the agent's memories.")]


@memories.command("ls", epilog=EXIT_CODES)
def memory_ls(
    target: AppArgument,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    memory: Only = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each memory.")] = 50,
    debug: Debug = False,
) -> None:
    """The newest entries, a line each."""

    def work() -> int:
        from .memory import MemoryOptions, ls

        return ls(MemoryOptions(target, _identity(tenant, principal, conversation), memory), limit)

    _end(work, debug)


@memories.command("show", epilog=EXIT_CODES)
def memory_show(
    target: AppArgument,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The beginning of its id.")],
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    memory: Only = None,
    debug: Debug = False,
) -> None:
    """One entry as JSON."""

    def work() -> int:
        from .memory import MemoryOptions, show

        return show(MemoryOptions(target, _identity(tenant, principal, conversation), memory), entry)

    _end(work, debug)


@memories.command("export", epilog=EXIT_CODES)
def memory_export(
    target: AppArgument,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    memory: Only = None,
    debug: Debug = False,
) -> None:
    """Every entry, one JSON object a line, the newest first."""

    def work() -> int:
        from .memory import MemoryOptions, export

        return export(MemoryOptions(target, _identity(tenant, principal, conversation), memory))

    _end(work, debug)


@memories.command("stats", epilog=EXIT_CODES)
def memory_stats(
    target: AppArgument,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    memory: Only = None,
    debug: Debug = False,
) -> None:
    """How many entries each memory shows to somebody."""

    def work() -> int:
        from .memory import MemoryOptions, stats

        return stats(MemoryOptions(target, _identity(tenant, principal, conversation), memory))

    _end(work, debug)


@memories.command("forget", epilog=EXIT_CODES)
def memory_forget(
    target: AppArgument,
    tenant: Tenant = None,
    principal: Principal = None,
    conversation: Conversation = None,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    debug: Debug = False,
) -> None:
    """Delete all that the agent's stores and state keep of somebody, and say what it was."""

    def work() -> int:
        from .memory import MemoryOptions, forget

        return forget(MemoryOptions(target, _identity(tenant, principal, conversation)), sure=sure)

    _end(work, debug)


runs = typer.Typer(help="See and hand out the runs that record_to keeps.", no_args_is_help=True)
app.add_typer(runs, name="runs")

_WHERE = "The folder, SQLite file or dsn that record_to was given."

Place = Annotated[
    str, typer.Argument(envvar="AGENTFOOTPRINT_RUNS", metavar="WHERE", help=_WHERE, show_default=False)
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the beginning of it.")]
Owner = Annotated[str | None, typer.Option("--tenant", help="Whose runs; without it those of no tenant.")]


@runs.command("ls", epilog=EXIT_CODES)
def runs_ls(
    place: Place,
    tenant: Owner = None,
    agent: Annotated[str | None, typer.Option(help="Of the agent of this name only.")] = None,
    status: Annotated[
        str | None, typer.Option(help="completed, stopped, paused, failed or cancelled ones only.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each.")] = False,
    debug: Debug = False,
) -> None:
    """The newest runs, a line each."""

    def work() -> int:
        from .records import RunsOptions, ls

        options = RunsOptions(place, tenant)
        return ls(options, agent=agent, status=status, limit=limit, as_json=as_json)

    _end(work, debug)


@runs.command("show", epilog=EXIT_CODES)
def runs_show(place: Place, run: RunId, tenant: Owner = None, debug: Debug = False) -> None:
    """What happened in a run."""

    def work() -> int:
        from .records import RunsOptions, show

        return show(RunsOptions(place, tenant), run)

    _end(work, debug)


@runs.command("export", epilog=EXIT_CODES)
def runs_export(
    place: Place,
    run: RunId,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; standard output unless given.")
    ] = None,
    tenant: Owner = None,
    debug: Debug = False,
) -> None:
    """A run's footprint as JSON Lines, for `agentfootprint replay`."""

    def work() -> int:
        from .records import RunsOptions, export

        return export(RunsOptions(place, tenant), run, file)

    _end(work, debug)


@app.command()
def migrate(
    dsn: Annotated[
        str | None,
        typer.Argument(
            envvar="AGENTFOOTPRINT_DSN",
            help="postgresql://user:password@host/database; better in the environment, where `ps` does not "
            "show it.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[str, typer.Option(help="The schema of the tables.")] = "public",
    vector_index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME@DIMENSIONS",
            help="Also make the index of this embedder's vectors; once for each.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make the tables of PostgresStore, of PostgresState and of record_to, or bring them to this release. Any
    number may run it at once."""

    def work() -> int:
        from .migrate import migrate as run_migrations

        return run_migrations(dsn, schema, vector_index or ())

    _end(work, debug)


def _identity(tenant: str | None, principal: str | None, conversation: str | None) -> MemoryIdentity | None:
    if tenant is None and principal is None and conversation is None:
        return None
    return MemoryIdentity(tenant, principal, conversation)


def _end(work: Callable[[], int], debug: bool) -> NoReturn:
    """Runs a command to its exit code. An error is told in one line."""
    try:
        code = work()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        consoles()[1].print("cancelled", style="yellow")
        code = INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        tell_error(consoles()[1], error)
        code = exit_code(error)
    raise typer.Exit(code)
