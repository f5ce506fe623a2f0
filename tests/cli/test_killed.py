"""`probseg train` in processes that are killed or run out of space, and typed again."""

import os
import resource
import signal
import sys
from functools import partial
from multiprocessing import Pipe
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
from forks import forked
from safetensors.torch import load_file

from probseg.cli import main
from tests.cli.test_train import NETS, write

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

# Calls before which a process is killed, each in the run that the one before it left.
PHASES = {
    "packing": ("probseg.datasets.cache.packing._read_chunk", 1),
    "choosing": ("probseg.cli.train_defaults.class_prior", 1),
    "before the first checkpoint": ("probseg.training.module.TrainingModule.training_step", 1),
    "after the second": ("probseg.training.module.TrainingModule.training_step", 3),
    "a half-written checkpoint": ("probseg.training.checkpoints._settle", 2),
    "scoring": ("probseg.metrics.score_collector.ScoreCollector.add", 1),
    "writing scores": ("probseg.metrics.scores.Scores.to_csv", 1),
    "drawing": ("probseg.plots.sample_sheet", 1),
    "writing the picture": ("matplotlib.figure.Figure.savefig", 1),
}
FULL = {  # calls from which the disk has no space, and the file that cannot be written
    "probseg.training.checkpoints.save": "best.safetensors",
    "probseg.training.checkpoints.RunCheckpoint.on_save_checkpoint": "last.ckpt",
    "probseg.metrics.scores.Scores.to_csv": "scores.csv",
    "matplotlib.figure.Figure.savefig": "samples.png",
}


def _fill_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def _run(arguments, cache, output, place, count, action):
    """Run the command in a session of its own; call ``action`` before a call of a function."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    sys.stdout, sys.stderr = (open(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))
    os.environ["PROBSEG_CACHE"] = cache
    if place:
        owner, _, name = place.rpartition(".")
        original, left = resolve_name(place), iter(range(count - 1, -1, -1))

        def watched(*args, **options):
            if next(left, None) == 0:
                action()
            return original(*args, **options)

        setattr(resolve_name(owner), name, watched)
    sys.exit(main(arguments))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function that runs the command in a process, and returns its status and output."""
    folder = tmp_path_factory.mktemp("killed")
    data = write(folder / "data")

    def start(name, place="", count=1, action=None):
        out, cache = folder / name, folder / f"{name}-cache"
        arguments = ["train", "punet", "--data", str(data), "--out", str(out), "-n", "2", "--set"]
        arguments += ["training.max_steps=4", "training.batch_size=2", *NETS]
        reader, writer = Pipe(duplex=False)
        process = forked().Process(
            target=_run, args=(arguments, str(cache), writer, place, count, action)
        )
        process.start()
        process.join()
        writer.close()
        with pytest.raises(ProcessLookupError):  # none is left in its session
            os.killpg(process.pid, 0)
        os.set_blocking(reader.fileno(), False)
        output = os.read(reader.fileno(), 1 << 16).decode()
        return SimpleNamespace(out=out, status=process.exitcode, output=output)

    return start


@pytest.fixture(scope="module")
def whole(start):
    """A run that nothing disturbed."""
    run = start("whole")
    assert run.status == 0, run.output
    return run


def files(out):
    """Return the names of all files of a run, hidden ones as well."""
    return sorted(path.name for path in out.iterdir())


def check_same(run, whole):
    """Check that a run ended as another did."""
    assert run.status == 0, run.output
    assert files(run.out) == files(whole.out)
    for name in ("scores.csv", "samples.png"):
        assert (run.out / name).read_bytes() == (whole.out / name).read_bytes()
    one, other = (load_file(out / "best.safetensors") for out in (run.out, whole.out))
    assert all((one[name] == other[name]).all() for name in {**one, **other})


def check_whole_files(out, whole):
    """Check that files under their final names are complete."""
    for name in ("scores.csv", "samples.png"):
        if (out / name).exists():
            assert (out / name).read_bytes() == (whole / name).read_bytes()
    if (out / "best.safetensors").exists():
        load_file(out / "best.safetensors")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_killed_in_every_phase_the_same_command_ends_as_if_it_never_was(start, whole, number):
    for phase, (place, count) in PHASES.items():
        run = start(number.name, place, count, partial(signal.raise_signal, number))
        assert run.status == (-number if number == signal.SIGKILL else 130), (phase, run.output)
        if number == signal.SIGINT:
            told = "interrupted; the same command again goes on"
            assert run.output.splitlines()[-1].startswith(told)
            assert "Traceback" not in run.output
            assert not run.out.exists() or not list(run.out.glob(".*")), phase
        if run.out.exists():
            check_whole_files(run.out, whole.out)
    check_same(start(number.name), whole)


def test_without_space_one_error_tells_what_to_do_and_it_then_goes_on(start, whole):
    for place, name in FULL.items():
        run = start("full", place, 1, _fill_disk)
        assert run.status == 1, (name, run.output)
        error = run.output.splitlines()[-1]
        assert error.startswith(f"probseg train: cannot write {run.out}") and name in error
        assert "free some space or choose another folder" in error
        assert "Traceback" not in run.output
        assert not list(run.out.glob(".*")), name
        check_whole_files(run.out, whole.out)
    check_same(start("full"), whole)
