"""``python -m benchmarks.gpu``: what is worth having from a few minutes on a GPU, best first.

Each step is a command of its own with a time limit and a log, and its outcome is kept at once, so
that whatever ends the run (time, an error, a machine that is taken back) costs the rest only. The
same command again keeps what is done and goes on with the rest, with a training where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.gpu.steps import ROOT, Options, Step, make_steps

# Nothing else is imported here, probseg neither: the kit is installed first.

GRACE = 15  # seconds that a step has to end after it is asked to
SHORTEST = 5  # seconds without which no step begins
ARCHIVE = "lidc.tar.xz"  # its parts in the kit are lidc.tar.xz.000, lidc.tar.xz.001, …
EXAMPLES = """
examples:
  make gpu-kit PROBSEG_DATA=DATA                          on a machine with network: wheels and data
  %(prog)s --minutes 8 --out results --kit gpu-kit        on the GPU machine
  %(prog)s --minutes 4 --out results train-paper          later: goes on with the training
  %(prog)s --small --out rehearsal                        a rehearsal on a CPU; no use as figures

Exit status: 0 all steps did what their time allowed, 1 one failed, 2 the arguments are wrong.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    steps = make_steps(Options(out=Path()))
    listed = "\n".join(f"  {name:<14}{step.what}" for name, step in steps.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Test, time and train on a GPU for a few minutes; results are kept at once.",
        epilog=f"steps:\n{listed}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.register("type", Path, lambda word: Path(os.path.expanduser(word)))
    parser.add_argument("steps", nargs="*", metavar="STEP", help="default: all, in this order")
    parser.add_argument("--minutes", type=float, default=8, metavar="M", help="in all (8)")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out/gpu"), metavar="DIR", help="%(default)s"
    )
    parser.add_argument(
        "--kit", type=Path, metavar="DIR", help="what make gpu-kit made: wheels, packed LIDC"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA") or None,
        metavar="DIR",
        help="LIDC, where the kit has none (default: $PROBSEG_DATA)",
    )
    parser.add_argument("--small", action="store_true", help="a rehearsal: tiny sizes, on the CPU")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = Options(**vars(parser.parse_args(arguments)))
    if (problem := _problem(options)) is not None:
        parser.error(problem)
    return Run(options).run()


def _problem(options: Options) -> str | None:
    """Return why there can be no run with these options, if so; make the folder."""
    known = make_steps(options)
    for name in options.steps:
        if name not in known:
            return f"no step is called {name!r}; known: {', '.join(known)}"
    if not options.minutes > 0:
        return f"--minutes must be more than zero, not {options.minutes:g}"
    if options.kit is not None and not options.kit.is_dir():
        return f"--kit {options.kit} is no folder; make it with make gpu-kit"
    if options.data_root is not None and not options.data_root.is_dir():
        return f"--data-root {options.data_root} is no folder; give the one that holds LIDC"
    out, small = options.out, options.small
    if read_outcomes(out).get("small", small) != small:
        kind, way = ("real figures", "no --small") if small else ("a rehearsal", "--small")
        return f"--out {out} holds {kind}, made with {way}; give another folder"
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "run.json", json.dumps(read_outcomes(out) | {"small": small}))
    except OSError as error:
        return f"--out {out} cannot be written: {error.strerror}"
    return None


def read_outcomes(out: Path) -> dict[str, Any]:
    """Return ``run.json``: whether it is a rehearsal ("small"), and the outcome of each step."""
    try:
        outcomes: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return outcomes


class Run:
    """One run of the command."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.started = time.monotonic()
        self.end = self.started + options.minutes * 60

    def run(self) -> int:
        """Run the steps and return the exit status."""
        self._install()
        names = self.options.steps or list(make_steps(self.options))
        if any(name.startswith("train") for name in names):
            self._unpack()
        steps = make_steps(self.options)  # once the data lie where the trainings look for them
        chosen = [name for name in steps if name in names]
        failed = False
        for index, name in enumerate(chosen):
            later = [steps[other] for other in chosen[index + 1 :]]
            outcome = self._run_or_keep(name, steps[name], later)
            failed |= outcome == "failed"
            if failed and name == "environment":
                break  # no step can do without torch and a GPU
        self._print(f"written: {self.options.out}/summary.md")
        return int(failed)

    def _run_or_keep(self, name: str, step: Step, later: Sequence[Step]) -> str:
        """Run a step that is not done, write its outcome and return it."""
        outcomes = read_outcomes(self.options.out)
        seconds = self._limit(step, later)
        if outcomes.get(name, {}).get("outcome") == "done":
            self._print(f"{name}: kept")
            return "done"
        if seconds < SHORTEST:
            self._print(f"{name}: no time is left")
            return "not begun"
        self._print(f"{name}: {step.what} (at most {seconds:.0f} s)")
        began = time.monotonic()
        outcome = self._run_step(name, step, seconds)
        taken = round(time.monotonic() - began)
        self._print(f"    {outcome} after {taken} s: {self.options.out}/{name}.log")
        command = shlex.join(["python", *step.arguments])
        outcomes[name] = {"outcome": outcome, "seconds": taken, "command": command}
        _write(self.options.out / "run.json", json.dumps(outcomes, indent=1))
        _write(self.options.out / "summary.md", summary(self.options))
        return outcome

    def _limit(self, step: Step, later: Sequence[Step]) -> float:
        """Return the seconds that a step may take: its own, and what those before it saved."""
        left = self.end - time.monotonic()
        share = self.options.minutes / 8
        reserved = sum(other.seconds for other in later) * share
        return min(left, max(step.seconds * share, left - reserved, SHORTEST))

    def _run_step(self, name: str, step: Step, seconds: float) -> str:
        """Run a step and return its outcome: "done", "failed" or "stopped" by its time."""
        log = self.options.out / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, *step.arguments],
                env=self._environment(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            status = wait_or_end(process, seconds)
        if status:
            print(_tail(log), flush=True)
        return "stopped" if status is None else "failed" if status else "done"

    def _environment(self) -> dict[str, str]:
        """Return the variables of a step: it finds the kit's wheels after the machine's own."""
        kit = self.options.kit
        site = [] if kit is None else [str(kit.absolute() / "site")]
        given = filter(None, [os.environ.get("PYTHONPATH")])
        path = os.pathsep.join([str(ROOT), *site, *given])
        device = {"PROBSEG_TEST_DEVICE": "cpu"} if self.options.small else {}
        return os.environ | device | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def _install(self) -> None:
        """Install the kit's wheels, if they are not yet."""
        kit = self.options.kit
        wheels = [] if kit is None else sorted((kit / "wheels").glob("*.whl"))
        if kit is None or not wheels or (kit / "site").is_dir():
            return
        self._print(f"installing {len(wheels)} wheels")
        half = kit / "site-half"  # so that an interrupted installation is not taken for whole
        options = ["--quiet", "--no-index", "--no-deps", "--upgrade", "--target", str(half)]
        command = [sys.executable, "-m", "pip", "install", *options, *map(str, wheels)]
        if subprocess.run(command, check=False).returncode:  # pip said why
            raise SystemExit(f"cannot install {kit}/wheels into {half}")
        half.rename(kit / "site")

    def _unpack(self) -> None:
        """Unpack the kit's data, if they are not yet; without them the trainings will fail."""
        kit = self.options.kit
        if kit is None or (kit / "data").is_dir():
            return
        if not any(kit.glob(f"{ARCHIVE}.*")):
            self._print(f"no LIDC is in {kit}: there is no {ARCHIVE}.000")
            return
        self._print("unpacking LIDC")
        incoming = kit / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)  # of an interrupted run
        incoming.mkdir()
        unpack = f"cat {ARCHIVE}.[0-9]* | tar -xJ -C incoming"
        process = subprocess.Popen(unpack, shell=True, cwd=kit, start_new_session=True)
        status = wait_or_end(process, self.end - time.monotonic())
        if status == 0:
            incoming.rename(kit / "data")
            return
        ended = "its time was over" if status is None else f"tar ended with {status}"
        self._print(
            f"cannot unpack LIDC: a part of {kit}/{ARCHIVE}.* is missing or damaged ({ended}); "
            "copy all of them again"
        )

    def _print(self, text: str) -> None:
        print(f"[{time.monotonic() - self.started:4.0f} s] {text}", flush=True)


def summary(options: Options) -> str:
    """Return the page ``summary.md``: the outcome of each step, and what the steps reported."""
    outcomes, steps = read_outcomes(options.out), make_steps(options)
    parts = ["`python -m benchmarks.gpu`"]
    if options.small:
        parts.append("**A rehearsal: tiny sizes; no use as figures.**")
    for name, step in steps.items():
        if name not in outcomes:
            continue
        taken = "{outcome} after {seconds} s".format_map(outcomes[name])
        parts.append(f"## {name}\n\n{step.what}: {taken}.")
        report, log = options.out / step.report, options.out / f"{name}.log"
        if step.report and report.is_file():
            parts.append(report.read_text(encoding="utf-8").strip())
        else:
            parts.append(f"```\n{_tail(log, 40 if name == 'environment' else 12)}\n```")
    return "\n\n".join(parts) + "\n"


def wait_or_end(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit status of a step, or None where its time was over first."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return None
    except BaseException:  # the run is interrupted, and nothing goes on without it
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a step to end, then end it and all that it started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _write(path: Path, text: str) -> None:
    """Write a file that is whole at any moment."""
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _tail(path: Path, lines: int = 15) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(text[-lines:])


def _ended(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _ended)
    sys.exit(main())
