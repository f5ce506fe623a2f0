"""``python -m benchmarks.gpu``: everything worth having from a few minutes on a GPU, best first.

Each part runs in a process of its own and writes its results at once, so that whatever ends the
run (time, an error, a machine that is taken back) costs the rest only. The same command again keeps
the finished parts and goes on with the training.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.parts import PARTS, TOTAL, PartResults, read_results
from benchmarks.gpu.report import write_summary

# Nothing but Python is imported here, probseg neither: the kit is installed first.

ROOT = Path(__file__).parents[2]
GRACE = 15  # seconds that a part has to end after it is asked to
ARCHIVE = "lidc.tar.xz"  # its parts in the kit are lidc.tar.xz.000, lidc.tar.xz.001, …
UNPACK = f"cat {ARCHIVE}.* | tar -xJ -C incoming"
EXAMPLES = """
examples:
  make gpu-kit PROBSEG_DATA=DATA                          on a machine with network: wheels and data
  %(prog)s --minutes 8 --out results --kit gpu-kit        on the GPU machine
  %(prog)s --minutes 4 --out results train scores         later: goes on with the training
  %(prog)s --small --out rehearsal --kit gpu-kit          a rehearsal on a CPU; no use as figures

Exit status: 0 all parts did what their time allowed, 1 one failed, 2 the arguments are wrong.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    listed = "\n".join(f"  {name:<13}{part.what}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Test, time and train on a GPU for a few minutes; results are kept at once.",
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


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run."""

    out: Path
    parts: Sequence[str] = ()  # all, if none is named
    minutes: float = 8
    kit: Path | None = None
    data_root: Path | None = None
    small: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = RunOptions(**vars(parser.parse_args(arguments)))
    if (problem := _problem(options)) is not None:
        parser.error(problem)
    return Run(options).run()


def _problem(options: RunOptions) -> str | None:
    """Return why there can be no run with these options, if so; make the folder."""
    for name in options.parts:
        if name not in PARTS:
            return f"no part is called {name!r}; known: {', '.join(PARTS)}"
    if not options.minutes > 0:
        return f"--minutes must be more than zero, not {options.minutes:g}"
    if options.kit is not None and not options.kit.is_dir():
        return f"--kit {options.kit} is no folder; make it with make gpu-kit"
    if options.data_root is not None and not options.data_root.is_dir():
        return f"--data-root {options.data_root} is no folder; give the one that holds LIDC"
    out, small = options.out, options.small
    before = read_results(out, "environment") | read_results(out, "run")
    if before.get("small", small) != small:
        kind, way = ("real figures", "no --small") if small else ("a rehearsal", "--small")
        return f"--out {out} holds {kind}, made with {way}; give another folder"
    try:
        out.mkdir(parents=True, exist_ok=True)
        PartResults(out, "run")["small"] = small
    except OSError as error:
        return f"--out {out} cannot be written: {error.strerror}"
    return None


class Run:
    """One run of the command."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.out = options.out.absolute()
        self.kit = options.kit and options.kit.absolute()
        self.started = time.monotonic()
        self.end = self.started + options.minutes * 60

    def run(self) -> int:
        """Run the parts and return the exit status."""
        chosen = [name for name in PARTS if name in self.options.parts or not self.options.parts]
        self._install()
        needs_data = any(PARTS[name].needs_data for name in chosen)
        unpacking = self._begin_to_unpack() if needs_data else None
        try:
            failed = [
                name
                for index, name in enumerate(chosen)
                if not self._run_or_keep(name, chosen[index + 1 :], unpacking)
            ]
        finally:
            if unpacking is not None and unpacking.poll() is None:  # the run was interrupted
                _end(unpacking)
        self._print(f"written: {self.options.out}/summary.md")
        return int(bool(failed))

    def _run_or_keep(
        self, name: str, later: Sequence[str], unpacking: subprocess.Popen[bytes] | None
    ) -> bool:
        """Run a part that is not finished; return whether it did what its time allowed."""
        if read_results(self.out, name).get("finished") and not PARTS[name].again:
            self._print(f"{name}: kept")
            return True
        if unpacking is not None and PARTS[name].needs_data:
            self._finish_unpacking(unpacking)
        done = self._run_part(name, self._seconds(name, later))
        write_summary(self.out)
        return done

    def _seconds(self, name: str, later: Sequence[str]) -> float:
        """Return the seconds that a part may take."""
        left = self.end - time.monotonic()
        share = min(1.0, self.options.minutes * 60 / TOTAL)
        reserved = sum((PARTS[other].seconds or 0) * share for other in later)
        own = PARTS[name].seconds
        return left - reserved if own is None else min(own * max(share, 0.5), left)

    def _run_part(self, name: str, seconds: float) -> bool:
        """Run a part, and return whether it did what its time allowed."""
        if seconds < 5:
            self._print(f"{name}: no time is left")
            return True
        self._print(f"{name}: {PARTS[name].what} (at most {seconds:.0f} s)")
        began = time.monotonic()
        log = self.out / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.parts", name, *self._arguments(seconds)],
                cwd=ROOT,
                env=self._environment(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            status = _wait(process, seconds)
        duration = f"{time.monotonic() - began:.0f} s"
        if status is None:
            self._print(f"    stopped after {duration}; its results so far are kept")
        elif status:
            self._print(f"    failed after {duration}: {self.options.out}/{name}.log")
            print(_tail(log), flush=True)
        else:
            self._print(f"    done in {duration}")
        return not status

    def _arguments(self, seconds: float) -> list[str]:
        arguments = ["--out", str(self.out), "--seconds", f"{seconds:.0f}"]
        if self.options.small:
            arguments.append("--small")
        root = self._data_root()
        return arguments if root is None else [*arguments, "--data-root", str(root)]

    def _data_root(self) -> Path | None:
        """Return the folder of LIDC, which is the only one in the kit's ``data``."""
        if self.kit is not None:
            for packed in (self.kit / "data").glob("*/"):
                return packed
        root = self.options.data_root
        return None if root is None else root.absolute()

    def _environment(self) -> dict[str, str]:
        """Return the variables of a part: it finds the kit's wheels after the machine's own."""
        paths = [str(ROOT)]
        if self.kit is not None:
            paths.append(str(self.kit / "site"))
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}

    def _install(self) -> None:
        """Install the kit's wheels, if they are not yet."""
        wheels = [] if self.kit is None else sorted((self.kit / "wheels").glob("*.whl"))
        if self.kit is None or not wheels or (self.kit / "site").is_dir():
            return
        self._print(f"installing {len(wheels)} wheels")
        half = self.kit / "site-half"  # so that an interrupted installation is not taken for whole
        options = ["--quiet", "--no-index", "--no-deps", "--upgrade", "--target", str(half)]
        command = [sys.executable, "-m", "pip", "install", *options, *map(str, wheels)]
        if subprocess.run(command, check=False).returncode:  # pip said why
            raise SystemExit(f"cannot install {self.options.kit}/wheels into {half}")
        half.rename(self.kit / "site")

    def _begin_to_unpack(self) -> subprocess.Popen[bytes] | None:
        """Start unpacking the kit's data, which goes on while the first parts run."""
        if self.kit is None or (self.kit / "data").is_dir():
            return None
        if not any(self.kit.glob(f"{ARCHIVE}.*")):
            self._print(f"no LIDC is in {self.options.kit}: there is no {ARCHIVE}.000")
            return None
        shutil.rmtree(self.kit / "incoming", ignore_errors=True)  # of an interrupted run
        (self.kit / "incoming").mkdir()
        return subprocess.Popen(UNPACK, shell=True, cwd=self.kit, start_new_session=True)

    def _finish_unpacking(self, unpacking: subprocess.Popen[bytes]) -> None:
        """Wait until the data are unpacked; without them the parts that need them will fail."""
        assert self.kit is not None
        status = unpacking.wait()
        if status == 0 and (self.kit / "incoming").is_dir():
            (self.kit / "incoming").rename(self.kit / "data")
        elif status:  # tar said what
            self._print(
                f"cannot unpack LIDC: a part of {self.options.kit}/{ARCHIVE}.* is missing or "
                f"damaged (tar ended with {status}); copy all of them again"
            )

    def _print(self, text: str) -> None:
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
    """End a process and all that it started."""
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
