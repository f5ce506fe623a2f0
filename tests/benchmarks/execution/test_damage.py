"""Files that were cut off, altered or exchanged: named, set aside, never mixed in."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import finished_result, read_result, result_path, set_aside_unusable
from benchmarks.run import main

ANY = st.integers(0, 2**40)


def cut(data: bytes, place: int) -> bytes:
    return data[: place % len(data)]


def flip(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place // 8 % len(data)] ^= 1 << place % 8
    return bytes(changed)


def delete_key(data: bytes, place: int) -> bytes:
    """Leave out one key, wherever in the nested objects it stands."""
    content = json.loads(data)
    owners = [(owner, key) for owner in _objects(content) for key in owner]
    owner, key = owners[place % len(owners)]
    del owner[key]
    return json.dumps(content).encode()


def _objects(content: object) -> list[dict]:
    if isinstance(content, list):
        return [found for item in content for found in _objects(item)]
    if not isinstance(content, dict):
        return []
    return [content, *(found for item in content.values() for found in _objects(item))]


@pytest.fixture(scope="module")
def trained(finished_run: Path) -> tuple[Experiment, bytes]:
    """An experiment that was trained, and the bytes of its result."""
    (path,) = finished_run.glob("cells/quick/*/csae/fold0-*/result.json")
    return read_result(path).experiment, path.read_bytes()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(damage=st.sampled_from([cut, flip, delete_key]), place=ANY)
def test_no_damage_to_a_result_is_taken_for_a_result(
    trained: tuple[Experiment, bytes], tmp_path_factory: pytest.TempPathFactory, damage, place
) -> None:
    experiment, whole = trained
    out = tmp_path_factory.mktemp("damaged")
    path = result_path(experiment, out)
    path.parent.mkdir(parents=True)
    path.write_bytes(damage(whole, place))
    found = finished_result(experiment, out)
    assert found is None or found.to_json() == json.loads(whole)
    set_aside_unusable(experiment, out, json.loads(whole)["data"]["fingerprint"])
    assert path.exists() == (found is not None)
    assert len(list(path.parent.iterdir())) == 1
    shutil.rmtree(out)


def drop_part(path: Path, chance: random.Random) -> None:
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint[chance.choice(["state_dict", "optimizer_states", "callbacks", "probseg"])]
    torch.save(checkpoint, path)


def damage_bytes(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.choice([cut, flip])(path.read_bytes(), chance.getrandbits(40)))


def cut_off(path: Path, chance: random.Random) -> None:
    path.write_bytes(cut(path.read_bytes(), chance.getrandbits(40)))


DAMAGE = {  # folder of an experiment to the file in it and what happens to that
    "punet/fold0": ("last.ckpt", cut_off),  # one bit may be of the padding between its parts
    "punet/fold1": ("last.ckpt", drop_part),
    "csae/fold1": ("best.safetensors", damage_bytes),
}


def test_a_run_over_damaged_files_shows_the_same_table(
    suite_file: Path, finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    chance = random.Random(0)
    folders = {name: next(tmp_path.glob(f"cells/quick/*/{name}-*")) for name in DAMAGE}
    for name, (file, damage) in DAMAGE.items():
        damage_bytes(folders[name] / "result.json", chance)
        damage(folders[name] / "training" / file, chance)
    command = ["--all", "--suite", str(suite_file), "--profile", "quick", "--device", "cpu"]
    assert main([*command, "--folds", "0", "1", "--out", str(tmp_path)]) == 0
    for table in ("table.md", "table.csv"):
        assert (tmp_path / table).read_bytes() == (finished_run / table).read_bytes()
    for folder in folders.values():
        renamed = {path.name for path in folder.glob("*-set-aside-*")}
        assert renamed == {"result-set-aside-1.json", "training-set-aside-1"}
