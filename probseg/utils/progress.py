"""A progress bar on stderr, where it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Advances a bar by ``count`` items; a second argument is a note, shown at its end from then on.
Advance = Callable[..., None]


@contextmanager
def progress_bar(
    description: str, total: int, *, completed: int = 0, show: bool | None = None
) -> Iterator[Advance]:
    """Yield a function that advances a bar, which says as well when the work will end.

    It is shown where stderr is a terminal, unless ``show`` says otherwise.
    """
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
    shown = console.is_terminal if show is None else show
    with progress.Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task(description, total=total, completed=completed, note="")

        def advance(count: int, note: str | None = None) -> None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            bar.update(task, advance=count, **fields)

        yield advance
