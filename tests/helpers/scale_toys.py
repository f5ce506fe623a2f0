"""What processes of the tests do; a module, so that they can import it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from benchmarks.execution.local import Attempt


class Deadly(Attempt):
    """Kills whatever process does it."""

    def __call__(self, experiment):
        os.kill(os.getpid(), signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended may still be listed."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def open_files(pid: int) -> set[str]:
    """Return the names of the files that a process has open, none if it ended meanwhile."""
    names = set()
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return names
    for link in links:
        with suppress(OSError):  # it was closed meanwhile
            names.add(link.readlink().name)
    return names
