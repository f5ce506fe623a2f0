"""What processes of the tests do; a module, so that they can import it."""

import os
import signal
from pathlib import Path

from benchmarks.work import Work


class Deadly(Work):
    """Kills whatever process does it."""

    def __call__(self, cell):
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


def open_files(pid: int) -> set[str]:
    """Return the names of the files that a process has open, none if it ended meanwhile."""
    names = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            names.add(link.readlink().name)
    except OSError:
        pass
    return names
