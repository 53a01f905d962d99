"""From `app:agent` on the command line to the agent."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ..agent import Agent
from ..errors import AgentFootprintError, ConfigurationError
from ..flow import Flow

__all__ = ["Loaded", "as_agent", "find", "make"]

Loaded = Agent[Any, Any] | Flow[Any]


def find(target: str) -> Any:
    """What `module:attribute` or `path/to/file.py:attribute` names. The current folder is searched first.

    Raises:
        ConfigurationError: nothing is found there, or the module cannot be imported; the message says
            what there is, or shows the module's own error.
    """
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute:
        raise ConfigurationError(
            f"{target!r} does not name an agent: write module:attribute, such as app:agent, "
            "or path/to/file.py:agent"
        )
    _search_first(Path.cwd())
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(f"{place} has no {attribute!r}; it has: {_offers(module)}") from None


async def make(target: str, found: Any) -> Loaded:
    """The agent (or flow) itself, made by the function that was named where it was one.

    Raises:
        ConfigurationError: it is none, or the function raised.
    """
    # Not everything that can be called: calling a tool would run it.
    if isinstance(found, (FunctionType, MethodType, partial)):
        found = await _made(target, found)
    if isinstance(found, (Agent, Flow)):
        return found
    raise ConfigurationError(
        f"{target} is {_kind(found)}, not an Agent: name an Agent, or a function without arguments that "
        "returns one"
    )


def as_agent(target: str, loaded: Loaded) -> Agent[Any, Any]:
    if isinstance(loaded, Agent):
        return loaded
    raise ConfigurationError(f"{target} is a flow, not an Agent: only an Agent can be asked something")


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise ConfigurationError(
            f"there is no module {error.name!r}, neither in {Path.cwd()} nor installed: run the command "
            "where the module is, or name the file, such as path/to/app.py:agent"
        ) from None
    except Exception as error:
        raise _broken(name, error) from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(
            f"there is no file {path}: name one from {Path.cwd()}, or give its whole path"
        )
    # What stands beside the file is imported as it would be when the file were run.
    _search_first(path.parent.resolve())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise _broken(str(path), error) from error
    return module


def _broken(name: str, error: Exception) -> Exception:
    """The error of somebody's own code, told in one line with its place."""
    if isinstance(error, SyntaxError):
        place, text = f"{Path(error.filename or name).name}, line {error.lineno}", error.msg
    else:
        # The innermost line outside Python's own import machinery.
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")
        ]
        frames = [
            f for f in frames if f.filename != __file__ and Path(f.filename) != Path(importlib.__file__)
        ]
        place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else name
        text = str(error)
    told = f"{name} cannot be imported: {type(error).__name__}: {text} ({place})"
    return ConfigurationError(told)


async def _made(target: str, function: Callable[..., Any]) -> Any:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"{target} is a function that cannot be called without arguments ({error}): name one that can, "
            "and that returns the agent"
        ) from None
    try:
        made = function()
        return await made if inspect.isawaitable(made) else made
    except AgentFootprintError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{target}() raised {type(error).__name__}: {error}") from error


def _offers(module: ModuleType) -> str:
    """The names a caller may have meant: agents if there are any, else whatever is public."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    agents = [name for name, value in public.items() if isinstance(value, (Agent, Flow))]
    makers = [
        name
        for name, value in public.items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    names = agents + makers or [name for name, value in public.items() if not inspect.ismodule(value)]
    return ", ".join(names[:20]) or "nothing"


def _kind(found: Any) -> str:
    if inspect.isclass(found):
        return f"the class {found.__name__}"
    name = type(found).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
