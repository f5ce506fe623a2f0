"""LIDC in the layout "slices": a folder for each nodule, image and reader."""

from __future__ import annotations

import re
from collections.abc import Sequence

from probseg.datasets.lidc.pngs import IMAGE, READERS, Files, LidcPngs, Part

SIZE = (128, 128)


class LidcSlices(LidcPngs):
    """Slices of nodules at the scans' own resolution, each stretched to its own range."""

    layout = "slices"
    looks = "LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png of 128x128 pixels"
    member = re.compile(
        r"(?:.*/)?(LIDC-IDRI-\d{4})/nodule-(\d+)/(images|mask-\d+)/slice-(\d+)\.png",
        re.IGNORECASE | re.ASCII | re.DOTALL,
    )
    folder = re.compile(
        r"(?:[^/]+/){0,2}LIDC-IDRI-\d{4}(?:/nodule-\d+(?:/(?:images|mask-\d+))?)?",
        re.IGNORECASE | re.ASCII,
    )

    def part(self, match: re.Match[str]) -> Part:
        """Return what a file is."""
        patient, nodule, part, number = match.groups()
        sample = f"{patient.upper()}/nodule-{int(nodule)}/slice-{int(number)}"
        part = IMAGE if part.lower() == "images" else f"mask-{int(part[5:])}"
        return Part(sample, patient.upper(), part)

    def masks(self, parts: Sequence[str]) -> Sequence[str]:
        """Return the names of the four masks."""
        return [f"mask-{reader}" for reader in range(READERS)]

    def size(self, samples: list[Files]) -> tuple[int, int]:
        """Return the one size that there is."""
        return SIZE
