"""Several processes that train together do what one does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_toys import Discs, quick

from probseg import build
from probseg.errors import OptionError, ProbsegError
from probseg.training import NonFiniteError, fit
from probseg.training.distributed import Share, process_errors
from probseg.training.execution import Purpose, derive_seed

SMALL = {"name": "unet", "channels": [4, 8], "convolutions": 1}
ENCODER = {"name": "axis-aligned", "channels": [4, 8], "convolutions": 1}


def make_csae() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("csae", backbone=SMALL, encoder=ENCODER, latent_dim=2)


@pytest.mark.slow
def test_two_processes_train_to_the_losses_of_one_with_the_whole_batch(tmp_path):
    """Uneven shares, chunks, augmentation, noise; the second half only, after one process."""
    settings = {"batch_size": 5, "micro_batch": 2, "max_steps": 6, "validate_every": 3}
    data = Discs(22), Discs(7, seed=1)  # two validation batches, of 5 and 2 images
    alone, together = make_csae(), make_csae()
    one = fit(alone, *data, quick(**settings), progress=False)
    fit(together, *data, quick(**settings | {"max_steps": 3}), out=tmp_path, progress=False)
    two = fit(together, *data, quick(**settings, devices=2), out=tmp_path, progress=False)
    assert [record["step"] for record in two.history] == [3, 6]
    for expected, record in zip(one.history, two.history, strict=True):
        assert set(record) == set(expected)
        for name in set(expected) - {"seconds"}:
            assert record[name] == pytest.approx(expected[name], rel=1e-4), name
    assert two.best_step == one.best_step
    for mine, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@given(images=st.integers(1, 100), of=st.integers(1, 12))
def test_shares_are_the_batch_in_order_and_differ_by_one_at_most(images, of):
    parts = [list(range(images))[Share(rank, of).of_batch(images)] for rank in range(of)]
    assert [image for part in parts for image in part] == list(range(images))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(batches=st.integers(1, 100), of=st.integers(1, 12))
def test_every_process_has_a_turn_and_none_counts_more_than_another(batches, of):
    turns = [turn for rank in range(of) for turn in Share(rank, of).batches(batches)]
    assert all(Share(rank, of).batches(batches) for rank in range(of))
    assert set(turns) == set(range(batches))
    assert len(turns) in (batches, batches * of)


def test_noise_differs_between_places_and_the_first_is_the_step_s():
    at = [derive_seed(3, Purpose.MODEL, 5, place) for place in range(4)]
    assert at[0] == derive_seed(3, Purpose.MODEL, 5)
    assert len(set(at)) == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"devices": 5}, "devices=5 needs a batch of at least 5 images, but batch_size is 4"),
        ({"devices": 2, "device": "cuda:1"}, "device 'cuda:1' names one device, but devices=2"),
        ({"devices": 2, "device": "mps"}, "device 'mps' names one device, but devices=2"),
        ({"devices": 0}, "devices must be an integer of at least 1"),
    ],
)
def test_devices_that_cannot_share_a_batch_are_refused(changes, told):
    with pytest.raises(OptionError, match=told):
        quick(**changes)


def _fail(rank: int, error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (NonFiniteError("training diverged at step 3"), NonFiniteError, "^training diverged"),
        (MemoryError("no more: none"), ProbsegError, "^MemoryError: no more: none$"),
    ],
)
def test_the_error_of_a_process_comes_out_as_its_own(error, kind, told):
    from torch.multiprocessing.spawn import ProcessRaisedException

    text = f"\n\n-- Process 1 terminated with the following error:\n{_traceback(error)}"
    with pytest.raises(kind, match=told), process_errors():
        raise ProcessRaisedException(text, 1, 12345)


def _traceback(error: Exception) -> str:
    import traceback

    try:
        _fail(1, error)
    except type(error):
        return traceback.format_exc()
    raise AssertionError
