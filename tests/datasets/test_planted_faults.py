"""Random trees with planted faults: what is sound comes back as it is, and nothing else does.

``PROBSEG_FUZZ=2000`` runs that many trees.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_kinds import TRACE, plant, plant_whole
from fault_layouts import LAYOUTS
from fault_trees import EITHER, GONE, SOUND, SPOILED, UNSEEN, Case, Tree, printable, write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.folder import folder as load_folder
from probseg.datasets.lidc import lidc
from probseg.datasets.qubiq import qubiq as load_qubiq
from probseg.errors import DataError

FAULTY = {EITHER, UNSEEN, SPOILED}
SECONDS = 20  # in which a tree of four small pictures must be loaded
TREES = int(os.environ.get("PROBSEG_FUZZ", "140"))


@st.composite
def spoiled(draw: Any, layout: str) -> Tree:
    tree = draw(LAYOUTS[layout])
    tree.root = draw(st.sampled_from(["data", "mes données", "caf\udce9"]))
    count = draw(st.sampled_from([1, 2, 3, 0]))
    if count and draw(st.sampled_from([False, False, True])):
        plant_whole(draw, tree)
        count -= 1
    for _ in range(count):
        plant(draw, tree, draw(st.sampled_from(tree.cases)))
    return tree


def load(tree: Tree, root: Path, **options: Any) -> PackedDataset:
    if tree.layout == "folder":
        return load_folder(root, **options)
    if tree.layout in ("slices", "crops", "pickle"):
        return lidc(root, **options)
    return load_qubiq(tree.layout, 1, root, size=None, **options)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fail what takes too long; end the process if not even that helps."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"not loaded within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def hold(tree: Tree, on_fault: str, place: Path) -> str:
    """Write a tree, load it, and hold what comes back to the truth; return how it went."""
    root = write(tree, place / tree.root)
    try:
        with watched(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load(tree, root, cache=place / "cache", on_fault=on_fault)
    except DataError as error:
        assert all(path.suffix == ".lock" for path in (place / "cache").glob("*"))
        check_refusal(tree, on_fault, root, str(error))
        return "refused"
    assert tree.damage != SPOILED, "what is unsafe or ambiguous was loaded"
    if tree.layout == "pickle" and tree.damage == EITHER:
        return "loaded"  # nothing tells which bits of a pickle were changed
    check_samples(tree, on_fault, dataset)
    return "loaded in part" if dataset.skipped else "loaded"


def is_told(case: Case, tree: Tree, lines: Iterable[str]) -> bool:
    return any(case.is_named(line, tree.above) for line in lines)


def check_refusal(tree: Tree, on_fault: str, root: Path, message: str) -> None:
    faulty = [case for case in tree.cases if case.state in FAULTY]
    named = any(is_told(case, tree, message.splitlines()) for case in faulty)
    whole = tree.damage == SOUND and any(
        tree.rows(case) for case in tree.cases if case.state == SOUND
    )
    if whole:  # then only the faults in it are a reason
        assert on_fault == "refuse" and named, message
    else:
        assert named or printable(root.name) in printable(message), message


def check_samples(tree: Tree, on_fault: str, dataset: PackedDataset) -> None:
    named = [
        case for case in tree.cases if any(case.is_named(x, tree.above) for x in dataset.skipped)
    ]
    states = {case.state for case in named}
    if tree.damage == SOUND:
        assert states <= FAULTY, dataset.skipped
        assert len(dataset.skipped) == len(named), dataset.skipped
        assert all(case in named for case in tree.cases if case.state == SPOILED)
    assert on_fault == "skip" or not named
    back = [case for case in tree.cases if case not in named and case.state not in (UNSEEN, GONE)]
    expected = {name: row for case in back for name, row in tree.rows(case).items()}
    unseen = {printable(case.id) for case in tree.cases if case.state == UNSEEN}
    cases = [name.rsplit("/slice-")[0] if tree.volumes else name for name in dataset.ids]
    places = [place for place, case in enumerate(cases) if case not in unseen]
    assert [dataset.ids[place] for place in places] == list(expected)
    batch = dataset.batch(places)
    for index, (place, row) in enumerate(zip(places, expected.values(), strict=True)):
        assert dataset.groups[place] == row.group
        np.testing.assert_allclose(batch.image[index], row.image, rtol=0, atol=tree.tolerance)
        np.testing.assert_array_equal(batch.masks[index], row.masks)
        np.testing.assert_array_equal(dataset.present[place], row.present)


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    if "PROBSEG_FUZZ" in os.environ:
        print("\n" + json.dumps(dict(sorted(counts.items())), indent=1))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_what_is_sound_comes_back(layout: str, tally: Counter[str]) -> None:
    @settings(
        max_examples=-(-TREES // len(LAYOUTS)),
        deadline=None,
        database=None,
        derandomize="PROBSEG_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(spoiled(layout), st.sampled_from(["refuse", "skip"]))
    def fuzz(tree: Tree, on_fault: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            result = hold(tree, on_fault, Path(place))
        assert not TRACE.exists(), "code of a file was run"
        tally.update(["trees", f"{layout}: {result}"])
        tally.update(f"fault: {fault.split(':')[0]}" for fault in tree.planted)

    fuzz()
