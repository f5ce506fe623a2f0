"""A progress bar on stderr, where it is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Advance(Protocol):
    """Advances a progress bar by ``count`` items, and shows ``note`` at its end from then on."""

    def __call__(self, count: int, note: str | None = None) -> None:
        """Advance the bar."""


@contextmanager
def progress_bar(
    description: str, total: int, *, completed: int = 0, show: bool | None = None
) -> Iterator[Advance]:
    """Yield a function that advances a bar, which says as well when the work will end.

    Args:
        description: What is being done.
        total: Number of items.
        completed: Items that were done before.
        show: Whether to show the bar; by default if stderr is a terminal.
    """
    if show is False:
        yield lambda count, note=None: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with progress.Progress(
        *columns, console=console, disable=not (console.is_terminal or show)
    ) as bar:
        task = bar.add_task(description, total=total, completed=completed, note="")

        def advance(count: int, note: str | None = None) -> None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            bar.update(task, advance=count, **fields)

        yield advance
