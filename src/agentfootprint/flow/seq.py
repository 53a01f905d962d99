"""A list that only grows: appending shares everything with the list before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, overload

__all__ = ["Seq"]

T_co = TypeVar("T_co", covariant=True)


class _Buffer(list[Any]):
    """What the versions of one list share: its items, and the rolling digests of its prefixes as far
    as somebody asked for them."""

    __slots__ = ("digests",)

    digests: list[bytes]


class Seq(Sequence[T_co]):
    """An immutable sequence with O(1) append.

    Versions of one growing list share one buffer; each knows its own length. Appending to a version
    that is not the newest copies once, so no version ever sees another's items.
    """

    __slots__ = ("_items", "_size")

    _items: _Buffer
    _size: int

    def __init__(self, items: Iterable[T_co] = ()) -> None:
        self._items = _Buffer(items)
        self._size = len(self._items)

    def append(self, item: Any) -> Seq[Any]:
        """The sequence with one item more."""
        return self._grown((item,))

    def extend(self, items: Iterable[Any]) -> Seq[Any]:
        """The sequence with these items more."""
        return self._grown(tuple(items))

    def _grown(self, more: tuple[Any, ...]) -> Seq[Any]:
        grown: Seq[Any] = Seq.__new__(Seq)
        if len(self._items) == self._size:
            grown._items = self._items
        else:
            grown._items = _Buffer(self._items[: self._size])
        grown._items.extend(more)
        grown._size = self._size + len(more)
        return grown

    def prefix_digests(self) -> list[bytes]:
        """The digests of the prefixes of this list, as far as they are known; shared by its versions."""
        items = self._items
        if not hasattr(items, "digests"):
            items.digests = []
        return items.digests

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T_co, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._size)
            if step < 0:
                return tuple(self._items[: self._size][index])
            return tuple(self._items[start:stop:step])
        if index < 0:
            index += self._size
        if not 0 <= index < self._size:
            raise IndexError("Seq index out of range")
        return self._items[index]

    def __iter__(self) -> Iterator[T_co]:
        return islice(self._items, self._size)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Seq):
            return self._size == other._size and (self._items is other._items or self[:] == other[:])
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self[:])

    def __repr__(self) -> str:
        return f"Seq({list(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from typing import get_args

        from pydantic_core import core_schema

        item = get_args(source)
        inner = handler.generate_schema(item[0]) if item else core_schema.any_schema()
        from_list = core_schema.no_info_after_validator_function(cls, core_schema.list_schema(inner))
        return core_schema.json_or_python_schema(
            json_schema=from_list,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_list]),
        )
