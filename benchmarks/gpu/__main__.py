"""``python -m benchmarks.gpu``: everything worth having from a few minutes on a GPU, best first.

Each part runs in a process of its own and writes what it has as soon as it has it, so that
whatever ends the run (time, a fault, a machine that is taken back) costs the rest only. The same
command again keeps the finished parts and goes on with the training.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.report import write_summary
from benchmarks.gpu.state import State, read_state

# Nothing but Python is imported here: the kit is installed first.

ROOT = Path(__file__).parents[2]
GRACE = 15  # seconds that a part has to end after it is asked to
EXAMPLES = """
examples:
  make gpu-kit PROBSEG_DATA=DATA                          on a machine with network: wheels and data
  %(prog)s --minutes 8 --out results --kit gpu-kit        on the GPU machine
  %(prog)s --minutes 4 --out results train scores         later: goes on with the training
  %(prog)s --small --out rehearsal --kit gpu-kit          a rehearsal on a CPU; no use as figures

Exit status: 0 all parts did what their time allowed, 1 one failed, 2 the command makes no sense.
"""


@dataclass(frozen=True)
class Part:
    """Something to measure.

    Attributes:
        what: In words.
        seconds: What it takes at most of a run of eight minutes; None takes what is left.
        again: Whether it runs again where an earlier run finished it.
    """

    what: str
    seconds: int | None
    again: bool = False


# In the order in which they run.
PARTS = {
    "environment": Part("the machine, its packages, what it computes and copies a second", 30),
    "tests": Part("pytest -m gpu", 90),
    "steps": Part("training steps beside the textbook's: eager, CUDA graphs, compiled", 110),
    "sampling": Part("16 and 100 samples beside the textbook's", 35),
    "profile": Part("where a training step's time goes", 40),
    "train": Part("punet, 2p-planar and csae on LIDC, profile paper; quick beside it", None, True),
    "scores": Part("GED16, GED100, Gini curves and pictures of what was trained", 70, True),
}
WHOLE = 8 * 60  # seconds that those numbers are for


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    listed = "\n".join(f"  {name:<13}{part.what}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Test, time and train on a GPU for a few minutes; everything is kept at once.",
        epilog=f"parts:\n{listed}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all, in this order")
    parser.add_argument(
        "--minutes", type=float, default=8, metavar="M", help="in all (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out/gpu"), metavar="DIR", help="%(default)s"
    )
    parser.add_argument(
        "--kit", type=Path, metavar="DIR", help="what make gpu-kit made: wheels, packed LIDC"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="LIDC, where the kit has none (default: $PROBSEG_DATA)",
    )
    parser.add_argument(
        "--small", action="store_true", help="a rehearsal: tiny sizes, on the CPU without a GPU"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"no part is called {name!r}; known: {', '.join(PARTS)}")
    if not options.minutes > 0:
        parser.error(f"--minutes is {options.minutes:g}; it is more than zero")
    if options.kit is not None and not options.kit.is_dir():
        parser.error(f"--kit {options.kit} is no folder; make it with make gpu-kit")
    if options.data_root is not None and not options.data_root.is_dir():
        parser.error(f"--data-root {options.data_root} is no folder; give the one that holds LIDC")
    if (fault := _begin(options.out, small=options.small)) is not None:
        parser.error(fault)
    return Run(options).run()


def _begin(out: Path, *, small: bool) -> str | None:
    """Make the folder; return why nothing can be measured into it, if so."""
    other = read_state(out, "run").get("small", read_state(out, "environment").get("small", small))
    if other != small:
        kind, way = ("a rehearsal", "--small") if other else ("real figures", "no --small")
        return f"--out {out} holds {kind}, made with {way}; give another folder"
    try:
        out.mkdir(parents=True, exist_ok=True)
        State(out, "run")["small"] = small
    except OSError as error:
        return f"--out {out} cannot be written: {error.strerror}"
    return None


class Run:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out.absolute()
        self.out.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.end = self.started + options.minutes * 60
        self.environment = dict(os.environ)
        self.unpacking: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run the parts and return the exit status."""
        chosen = [name for name in PARTS if name in self.options.parts or not self.options.parts]
        self._install()
        if not {"train", "scores"}.isdisjoint(chosen):
            self._begin_to_unpack()
        try:
            return self._all(chosen)
        finally:
            if self.unpacking is not None:  # the run was interrupted
                self.unpacking.terminate()

    def _all(self, chosen: Sequence[str]) -> int:
        failed = []
        for place, name in enumerate(chosen):
            if read_state(self.out, name).get("finished") and not PARTS[name].again:
                self._tell(f"{name}: kept")
            elif not self._do(name, self._seconds(name, chosen[place + 1 :])):
                failed.append(name)
            write_summary(self.out)
        self._tell(f"written: {self.options.out}/summary.md")
        return int(bool(failed))

    def _seconds(self, name: str, later: Sequence[str]) -> float:
        """Return the seconds that a part may take."""
        left = self.end - time.monotonic()
        share = min(1.0, self.options.minutes * 60 / WHOLE)
        reserved = sum((PARTS[other].seconds or 0) * share for other in later)
        own = PARTS[name].seconds
        return left - reserved if own is None else min(own * max(share, 0.5), left)

    def _do(self, name: str, seconds: float) -> bool:
        """Run a part, and say whether it did what its time allowed."""
        if seconds < 5:
            self._tell(f"{name}: no time is left")
            return True
        if name in ("train", "scores"):
            self._wait_for_data()
        self._tell(f"{name}: {PARTS[name].what} (at most {seconds:.0f} s)")
        began = time.monotonic()
        with (self.out / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.part", name, *self._arguments(seconds)],
                **{"cwd": ROOT, "env": self.environment, "stdout": log, "stderr": log},
                start_new_session=True,
            )
            status = _wait(process, seconds)
        took = f"{time.monotonic() - began:.0f} s"
        if status is None:
            self._tell(f"    stopped after {took}; what it had is kept")
        elif status:
            self._tell(f"    failed after {took}: {self.options.out}/{name}.log")
            print(_tail(self.out / f"{name}.log"), flush=True)
        else:
            self._tell(f"    done in {took}")
        return not status

    def _arguments(self, seconds: float) -> list[str]:
        arguments = ["--out", str(self.out), "--seconds", f"{seconds:.0f}"]
        if self.options.small:
            arguments.append("--small")
        root = self._data_root()
        return arguments if root is None else [*arguments, "--data-root", str(root)]

    def _data_root(self) -> Path | None:
        if self.options.kit is not None:
            unpacked: Path = self.options.kit.absolute() / "data" / "lidc"
            if unpacked.is_dir():
                return unpacked
        root = self.options.data_root
        return None if root is None else Path(root).absolute()

    def _install(self) -> None:
        """Put the kit's wheels where the parts find them, after what the machine has itself."""
        paths = [str(ROOT)]
        if self.options.kit is not None:
            site = self.options.kit.absolute() / "site"
            wheels = sorted((self.options.kit / "wheels").glob("*.whl"))
            if wheels and not site.is_dir():
                self._tell(f"installing {len(wheels)} wheels")
                half = site.with_name("site-half")  # what an interrupted run leaves is not taken
                options = ["--quiet", "--no-index", "--no-deps", "--upgrade", "--target", str(half)]
                command = [sys.executable, "-m", "pip", "install", *options, *map(str, wheels)]
                if subprocess.run(command, check=False).returncode:  # pip said why
                    raise SystemExit(f"cannot install {self.options.kit}/wheels into {half}")
                half.rename(site)
            paths.append(str(site))
        paths += [path for path in [self.environment.get("PYTHONPATH")] if path]
        self.environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}

    def _begin_to_unpack(self) -> None:
        """Unpack the kit's data beside the first parts, where all of it is there."""
        kit = self.options.kit
        if kit is None or (kit / "data").is_dir():
            return
        if not (kit / "lidc.tar.xz.json").exists():
            self._tell(f"no LIDC is in {kit}: lidc.tar.xz.json is missing")
            return
        command = [sys.executable, "unpack.py", "lidc.tar.xz", "--into", "incoming"]
        self.unpacking = subprocess.Popen(command, cwd=kit.absolute())

    def _wait_for_data(self) -> None:
        if self.unpacking is None:
            return
        if self.unpacking.wait() == 0:
            kit = self.options.kit.absolute()
            (kit / "incoming" / "data").rename(kit / "data")
        else:  # it said why
            self._tell(f"LIDC is not taken from {self.options.kit}")
        self.unpacking = None

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self.started:4.0f} s] {text}", flush=True)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit status of a part, or None where its time was over first."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return None
    except BaseException:  # the run is interrupted, and nothing goes on without it
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part and all that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(path: Path, lines: int = 15) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"      {line}" for line in text[-lines:])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
