"""Label maps that travel as bits arrive as they were; tensors come a few images at a time."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from label_map_strategy import label_maps
from torch import Tensor

from probseg.utils import devices
from probseg.utils.devices import fetch_label_maps

quick = settings(deadline=None)


@quick
@given(label_maps())
def test_fetched_maps_are_the_maps(case):
    maps, classes = case
    found = fetch_label_maps(maps, classes)
    assert found.flags.c_contiguous
    assert torch.equal(torch.from_numpy(found), maps)  # of their dtype, too


def test_a_mask_of_a_device_travels_as_a_bit_a_pixel(monkeypatch):
    sent, cpu = [], Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: (sent.append(tensor.nbytes), cpu(tensor))[1])
    fetch_label_maps(torch.ones(3, 4, 80, dtype=torch.uint8), 2)
    fetch_label_maps(torch.ones(3, 4, 80, dtype=torch.uint8), 5)
    assert sent == [3 * 4 * 10, 3 * 4 * 10 * 3]


def test_a_device_takes_more_at_once_than_the_cache_holds_but_not_all(monkeypatch):
    monkeypatch.setattr(devices, "_CPU_CHUNK", 100)
    monkeypatch.setattr(devices, "_DEVICE_CHUNK", 300)
    images = torch.zeros(8, 10)  # 40 bytes each
    assert [len(one) for (one,) in devices.chunks(images)] == [2, 2, 2, 2]
    assert [len(one) for (one,) in devices.chunks(images.to("meta"))] == [7, 1]
