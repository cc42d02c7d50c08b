"""Each: what comes one by one, for both faces of a client.

    for message in ws:                  async for message in ws:

A subclass has `next_one`, a generator for a `Task`, and `run`, which runs one: it returns its value
(`Client`), or what is awaited for it (`AsyncClient`).
"""

from __future__ import annotations

from collections.abc import Generator

from ..typed import Any, Callable, Generic, TypeVar

T = TypeVar('T')
Run = Callable[[Generator[Any, Any, Any]], Any]


class Each(Generic[T]):
    """An iterator, and an asynchronous one, of what `next_one` gives; None ends it."""

    run: Run

    def next_one(self) -> Generator[Any, Any, T | None]:
        """Wait for the next one; return None at the end."""
        raise NotImplementedError

    def __iter__(self) -> Each[T]:
        return self

    def __next__(self) -> T:
        one: T | None = self.run(self.next_one())
        if one is None:
            raise StopIteration
        return one

    def __aiter__(self) -> Each[T]:
        return self

    async def __anext__(self) -> T:
        one: T | None = await self.run(self.next_one())
        if one is None:
            raise StopAsyncIteration
        return one
