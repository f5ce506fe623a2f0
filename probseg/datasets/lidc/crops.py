"""LIDC in the layout "crops", as the hierarchical probabilistic U-Net published it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from probseg.datasets.formats.png import read_header
from probseg.datasets.lidc.pngs import IMAGE, LARGEST, READERS, Files, LidcPngs, Part
from probseg.errors import DataError

USUAL = (180, 180)
_WIDEST = 1024  # pixels; what says that it is larger is no crop of a nodule
_LOOKED_AT = 25  # images by which the size of all is known


class LidcCrops(LidcPngs):
    """Crops around the nodules at 0.5 mm; a tree of another square size, cut from them, will do.

    The folders ``train``, ``val`` and ``test`` are put together: splits are made by patient.

    References:
        Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities",
        arXiv 1905.13077, 2019.
    """

    layout = "crops"
    looks = (
        "{train,val,test}/{images,gt}/PATIENT/z-Z_cC.png of 180x180 pixels, the four masks in gt "
        "with _l0 to _l3 or _l1 to _l4 at the end"
    )
    member = re.compile(
        r"(?:.*/)?(?:train|val|test)/(?:images/(?P<image>[^/]+/z-[^/]+_c\d+)"
        r"|gt/(?P<gt>[^/]+/z-[^/]+_c\d+)_l(?P<label>\d+))\.png",
        re.IGNORECASE | re.ASCII | re.DOTALL,
    )
    folder = re.compile(
        r"(?:[^/]+/){0,2}(?:train|val|test)(?:/(?:images|gt)(?:/[^/]+)?)?", re.IGNORECASE
    )
    spacing = 0.5

    def part(self, match: re.Match[str]) -> Part:
        """Return what a file is."""
        sample = match["image"] or match["gt"]
        part = IMAGE if match["image"] else f"l{int(match['label'])}"
        return Part(sample, sample.split("/")[0], part)

    def masks(self, parts: Sequence[str]) -> Sequence[str]:
        """Return the names of the four masks, which are counted from 0 or from 1."""
        first = 1 if "l4" in parts and "l0" not in parts else 0
        return [f"l{first + reader}" for reader in range(READERS)]

    def size(self, samples: list[Files]) -> tuple[int, int]:
        """Return the square size that most of some images have."""
        sizes: Counter[tuple[int, int]] = Counter()
        for files in samples[:: len(samples) // _LOOKED_AT + 1]:
            with suppress(DataError):  # is reported when it is read
                sizes[read_header(self._tree.read(files.names[0], LARGEST))[:2]] += 1
        sensible = [size for size in sizes if size[0] == size[1] and 0 < size[0] <= _WIDEST]
        return max(sensible, key=lambda size: (sizes[size], size == USUAL), default=USUAL)
