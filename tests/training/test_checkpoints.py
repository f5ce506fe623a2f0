"""Going on from what a killed run left, and from nothing that is damaged or of other code."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_toys import Discs, make_model, quick

from probseg.errors import CheckpointError
from probseg.training import FitResult, fit

Records = list[dict[str, float]]
ANY = st.integers(0, 2**40)


def train_on(folder: Path | None, *, steps: int) -> FitResult:
    settings = quick(max_steps=steps)
    return fit(make_model(), Discs(22), Discs(6, seed=1), settings, out=folder)


def without_time(result: FitResult) -> Records:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> tuple[Path, Records]:
    """A run with one round to go, and the records of it all."""
    folder = tmp_path_factory.mktemp("interrupted")
    train_on(folder, steps=3)
    return folder, without_time(train_on(None, steps=6))


def test_a_checkpoint_of_other_code_is_refused(tmp_path, monkeypatch):
    train_on(tmp_path, steps=3)
    monkeypatch.setattr(sys.modules["probseg.training.fitting"], "CODE", 0)
    with pytest.raises(CheckpointError, match=r"whose training code is [1-9], not 0"):
        train_on(tmp_path, steps=3)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(["last.ckpt", "best.safetensors"]), cut=st.booleans(), place=ANY)
def test_damage_to_any_bit_is_refused_or_harmless(interrupted, name, cut, place):
    folder, expected = interrupted
    with TemporaryDirectory() as copied:
        path = Path(shutil.copytree(folder, copied, dirs_exist_ok=True)) / name
        content = bytearray(path.read_bytes())
        if cut:
            content = content[: place % len(content)]
        else:
            content[place // 8 % len(content)] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            result = train_on(Path(copied), steps=6)
        except CheckpointError as error:
            assert str(path) in str(error)
        else:
            assert without_time(result) == expected


def test_a_tensor_that_is_marked_as_a_folder_is_refused(interrupted, tmp_path):
    """torch would read none of its bytes, and no checksum covers the mark."""
    path = Path(shutil.copytree(interrupted[0], tmp_path, dirs_exist_ok=True)) / "last.ckpt"
    with zipfile.ZipFile(path) as archive:
        first = archive.start_dir
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", first, content.index(b"/data/0", first))
    content[entry + 38] |= 0x10  # the attributes of the first tensor
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="it is corrupt"):
        train_on(tmp_path, steps=6)


@pytest.mark.parametrize(
    "part", ["state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "probseg"]
)
def test_a_checkpoint_that_lacks_a_part_is_refused(interrupted, tmp_path, part):
    shutil.copytree(interrupted[0], tmp_path, dirs_exist_ok=True)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del checkpoint[part]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=f"lacks {part}|not a checkpoint of probseg"):
        train_on(tmp_path, steps=6)


def test_a_best_model_without_its_checkpoint_is_not_taken(interrupted, tmp_path):
    """As after a kill between the two: the round is made again, whatever it left."""
    folder, expected = interrupted
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / ".6-best.safetensors").write_bytes(b"of a round that nobody finished")
    (tmp_path / ".best.safetensors.abcd1234").mkdir()
    (tmp_path / "history.json").unlink()
    result = train_on(tmp_path, steps=6)
    assert without_time(result) == expected
    assert not list(tmp_path.glob(".*"))
    assert json.loads((tmp_path / "history.json").read_text()) == result.history


def test_a_checkpoint_whose_best_model_was_not_yet_renamed_is_complete(interrupted, tmp_path):
    shutil.copytree(interrupted[0], tmp_path, dirs_exist_ok=True)
    best = tmp_path / "best.safetensors"
    best.rename(tmp_path / ".3-best.safetensors")
    train_on(tmp_path, steps=3)
    assert best.read_bytes() == (interrupted[0] / "best.safetensors").read_bytes()
