"""Random small trees of each layout; for the fuzz of the loaders."""

from __future__ import annotations

from typing import Any

import numpy as np
from fault_files import ENCODERS, KINDS, File, drawn, nifti, packed, picture, png, png_mask, volume
from fault_trees import Case, Tree
from hypothesis import strategies as st

LETTERS = st.text("aZ19 éß漢-_", min_size=1, max_size=6).filter(lambda text: text == text.strip())
NAMES = LETTERS | LETTERS.map(lambda text: f"{text}\udce9")  # no UTF-8, as old disks have it


def randoms(draw: Any) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def names(draw: Any, zipped: bool) -> list[str]:
    of_zip = NAMES.filter(lambda text: "\udce9" not in text)  # a zip file's names are text
    return draw(st.lists(of_zip if zipped else NAMES, min_size=1, max_size=4, unique=True))


@st.composite
def slices(draw: Any) -> Tree:
    numbers = draw(st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True))
    random, zipped, patient = randoms(draw), draw(st.booleans()), draw(st.integers(1, 3))
    cases = []
    for number in numbers:
        who, nodule = f"LIDC-IDRI-{patient + number // 4:04}", number % 4 // 2
        place = f"{who}/nodule-{nodule}/{{}}/slice-{number}.png"
        masks = {
            f"mask-{reader}": File(
                place.format(f"mask-{reader}"), drawn(random, 128, 128), png_mask
            )
            for reader in range(4)
        }
        image = File(place.format("images"), picture(random, 128, 128), png)
        name = f"{who}/nodule-{nodule}/slice-{number}"
        cases.append(Case(name, who, image, masks, needs_all=True))
    above = draw(st.sampled_from(["", "LIDC é/", "a/b c/"]))
    return Tree("slices", cases, 1e-6, zipped, above=above)


@st.composite
def crops(draw: Any) -> Tree:
    random, zipped = randoms(draw), draw(st.booleans())
    edge, first = draw(st.sampled_from([12, 17, 180])), draw(st.sampled_from([0, 1]))
    cases = []
    for who in names(draw, zipped):
        part, crop = draw(st.sampled_from(["train", "val", "test"])), f"{who}/z-1.5_c0"
        masks = {
            f"l{k}": File(f"{part}/gt/{crop}_l{k + first}.png", drawn(random, edge, edge), png_mask)
            for k in range(4)
        }
        image = File(f"{part}/images/{crop}.png", picture(random, edge, edge), png)
        cases.append(Case(crop, who, image, masks, needs_all=True))
    return Tree("crops", cases, 1e-6, zipped)


@st.composite
def qubiq(draw: Any, subset: str, raters: int, shape: tuple[int, ...]) -> Tree:
    random, zipped = randoms(draw), draw(st.booleans())
    volumes = subset == "pancreas"
    way = draw(st.sampled_from(["Training", "Validation", ""]))
    above = draw(st.sampled_from(["", "qubiq données/", "training_data_v3_QC/"]))
    suffix = draw(st.sampled_from([".nii", ".nii.gz", ".nii.gz"]))
    write = volume if volumes else nifti
    encode = packed(write) if suffix.endswith(".gz") else write
    part, cases = way or ("Training" if above.startswith("training") else ""), []
    for name in names(draw, zipped):
        name = f"case{name}"
        folder = "/".join(filter(None, [subset, way, name]))
        own = subset == "kidney" and draw(st.booleans())
        task = name if own else "task01"
        masks = {
            str(rater): File(
                f"{folder}/{task}_seg{rater:02}{suffix}",
                drawn(random, *(shape if volumes else shape[:2])),
                encode,
            )
            for rater in range(1, raters + 1)
        }
        image = File(f"{folder}/image{suffix}", picture(random, *shape, kind="f4"), encode)
        name = "/".join(filter(None, [part, name]))
        cases.append(Case(name, name, image, masks))
    return Tree(subset, cases, 2**-11, zipped, volumes=volumes, eight_bit=False, above=above)


@st.composite
def folder(draw: Any) -> Tree:
    random, zipped, grouped = randoms(draw), draw(st.booleans()), draw(st.booleans())
    eight_bit, colours = draw(st.booleans()), draw(st.sampled_from([1, 1, 3]))
    annotators, cases = names(draw, zipped)[:3], []
    shape = (9, 8) if colours == 1 else (9, 8, 3)
    for name in names(draw, zipped):
        suffix = draw(st.sampled_from(list(ENCODERS) if eight_bit or colours == 1 else [".npy"]))
        kind = "u1" if eight_bit else draw(st.sampled_from(KINDS[suffix]))
        others = [suffix] if suffix.startswith(".nii") else [".png", ".tif", ".npy"]
        image = File(f"images/{name}{suffix}", picture(random, *shape, kind=kind), ENCODERS[suffix])
        masks = {}
        for who in annotators:
            suffix = draw(st.sampled_from(others))
            encode = png_mask if suffix == ".png" else ENCODERS[suffix]
            masks[who] = File(f"masks/{name}/{who}{suffix}", drawn(random, 9, 8), encode)
        cases.append(Case(name, "g" if grouped and "\udce9" not in name else name, image, masks))
    more = {}
    if grouped and not any("\udce9" in case.id for case in cases):
        table = "".join(f"{case.id},{case.group}\n" for case in cases)
        more["groups.csv"] = f"id,group\n{table}".encode()
    else:
        cases = [Case(case.id, case.id, case.image, case.masks) for case in cases]
    above = "outer é/" if zipped and draw(st.booleans()) else ""
    return Tree(
        "folder",
        cases,
        1e-6 if eight_bit else 2**-11,
        zipped,
        eight_bit=eight_bit,
        more=more,
        above=above,
    )


@st.composite
def entries(draw: Any) -> Tree:
    random, cases = randoms(draw), []
    for name in names(draw, zipped=False):
        who = draw(st.sampled_from(["LIDC-IDRI-0007", "1.2.3"]))
        kind, step = draw(st.sampled_from(["f4", "f8"])), picture(random, 128, 128)
        image = File("<image>", step, lambda pixels, kind=kind: (pixels / 255).astype(kind))
        masks = {str(k): File(f"<mask {k}>", drawn(random, 128, 128), np.copy) for k in range(4)}
        key = f"{name} {who}" if "IDRI" in who else name
        cases.append(Case(key, who, image, masks, needs_all=True))
    return Tree("pickle", cases, 1e-6)


LAYOUTS = {
    "slices": slices(),
    "crops": crops(),
    "pickle": entries(),
    "kidney": qubiq("kidney", 3, (8, 7)),
    "brain-tumor": qubiq("brain-tumor", 3, (8, 7, 4)),
    "pancreas": qubiq("pancreas", 2, (3, 6, 5)),
    "folder": folder(),
}
