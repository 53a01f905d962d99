"""Whether what an agent keeps things in can be used, told by name before the first run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import StoreError, StoreUnavailable
from ..state.base import CheckedStore

if TYPE_CHECKING:
    from ..memory.memory import Memory
    from ..state.base import StateStore

__all__ = ["CHECK_SECONDS", "check_stores"]

CHECK_SECONDS = 20.0
"""For so long a store may take to say whether it can be used."""


async def check_stores(name: str, memories: Sequence[Memory], state: StateStore | None) -> None:
    """Asks each store of an agent once, all at the same time; what has no `check` is taken as it is.

    Raises:
        StoreUnavailable: some cannot be reached; the message says which, and why.
        StoreError: what some need is not there, or may not be used.
    """
    uses: dict[int, tuple[Any, list[str]]] = {}
    places = [(memory.store, f"memory {memory.id!r}") for memory in memories]
    for store, use in [*places, *([] if state is None else [(state, "state=")])]:
        uses.setdefault(id(store), (store, []))[1].append(use)
    found = await asyncio.gather(*(_checked(store) for store, _ in uses.values()))
    failures = [
        (error, f"{' and '.join(of)} ({type(store).__qualname__}): {error}")
        for error, (store, of) in zip(found, uses.values(), strict=True)
        if error is not None
    ]
    if not failures:
        return
    # What may be there in a moment is told as that only if all of it may.
    kinds = [type(error) for error, _ in failures]
    kind = StoreUnavailable if all(issubclass(each, StoreUnavailable) for each in kinds) else StoreError
    raise kind(f"agent {name!r} cannot start: {'; '.join(text for _, text in failures)}")


async def _checked(store: Any) -> StoreError | None:
    if not isinstance(store, CheckedStore):
        return None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await store.check()
    except StoreError as error:
        return error
    except TimeoutError:
        return StoreUnavailable(f"it did not answer for {CHECK_SECONDS:g} s")
    except Exception as error:
        # Its text is not ours: it may quote an address with its password.
        return StoreUnavailable(f"it cannot be used ({type(error).__name__})")
    return None
