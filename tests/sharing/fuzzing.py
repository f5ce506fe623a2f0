"""Load many damaged checkpoints and folders in one process, which a crash or a hang would end.

``python fuzzing.py COUNT SEED FOLDER`` prints what came of them as one line of JSON. Every case
ends in an error of probseg whose text names the file, or in the model that was saved.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import struct
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import probseg
from probseg.errors import ProbsegError
from probseg.sharing.checkpoint import _digest

SECONDS = 10.0  # of the processor, for one case; a hang ends the process, native code or not

NET = {"channels": [2, 4], "convolutions": 1}
OPTIONS = {
    "backbone": {"name": "unet", **NET},
    "encoder": {"name": "axis-aligned", **NET},
    "decoder": {"name": "fcomb", "features": 4, "layers": 1},
    "latent_dim": 2,
}
NUMBERS = (0, -1, 3, 10**6, 10**9, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400, 1e308, 0.5)
TEXTS = ("", "é", "‮gnp", "\ud800", "\x00", "𝕦net", "../../etc/passwd", "smp", "a" * 10**5)
OTHERS = (None, True, [], {}, [[]], {"name": "planar"}, {"object": "os.system"}, [1] * 1000)


class Material:
    """A sound checkpoint, taken apart."""

    def __init__(self, content: bytes) -> None:
        (length,) = struct.unpack("<Q", content[:8])
        self.content = content
        self.header: dict[str, Any] = json.loads(content[8 : 8 + length])
        self.data = content[8 + length :]

    def packed(self, header: dict[str, Any] | bytes) -> bytes:
        """Return a file with another header."""
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + self.data

    def copy(self) -> dict[str, Any]:
        """Return the header, to change."""
        return json.loads(json.dumps(self.header))


def flipped_bits(material: Material, rng: random.Random) -> bytes:
    content = bytearray(material.content)
    reach = rng.choice([8, len(content) - len(material.data), len(content)])
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        content[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(content)


def truncated(material: Material, rng: random.Random) -> bytes:
    return material.content[: rng.randrange(len(material.content))]


def extended(material: Material, rng: random.Random) -> bytes:
    return material.content + rng.randbytes(rng.choice([1, 4, 1000]))


def spliced(material: Material, rng: random.Random) -> bytes:
    content = bytearray(material.content)
    start, width = rng.randrange(len(content)), rng.randrange(1, 200)
    content[start : start + width] = rng.randbytes(rng.randrange(200))
    return bytes(content)


def wrong_header_length(material: Material, rng: random.Random) -> bytes:
    length = rng.choice([0, 1, 7, 2**24, 2**31, 2**63, 2**64 - 1, rng.randrange(10**5)])
    return struct.pack("<Q", length) + material.content[8:]


def _tensor(header: dict[str, Any], rng: random.Random) -> str:
    return rng.choice([name for name in header if name != "__metadata__"])


def wrong_shapes(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    shape = header[_tensor(header, rng)]["shape"]
    huge = [10**6, 2**31, 2**62, 2**64, -1, 0, 1.5, "3", None]
    if shape:
        shape[rng.randrange(len(shape))] = rng.choice(huge)
    shape.extend(rng.choice([[], [1], [0, 2**40], [rng.choice(huge)]]))
    return material.packed(header)


def wrong_types(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    types = ["F16", "BF16", "F64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "F4", "", "é", None, 4]
    header[_tensor(header, rng)]["dtype"] = rng.choice(types)
    return material.packed(header)


def wrong_offsets(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    offsets = header[_tensor(header, rng)]["data_offsets"]
    offsets[rng.randrange(2)] = rng.choice([0, -1, 2**40, 2**64, offsets[0], "0"])
    return material.packed(header)


def wrong_names(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    name = _tensor(header, rng)
    new = rng.choice(["weight", "é" * 1000, "\x00", "\ud800", _tensor(header, rng), name + ".x"])
    header[new] = header.pop(name)
    return material.packed(header)


def many_tensors(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    for index in range(rng.choice([100, 5000])):
        header[f"extra.{index}"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return material.packed(header)


def deep_header(material: Material, rng: random.Random) -> bytes:
    depth = rng.choice([100, 10_000, 1_000_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return material.packed(opening * depth + b"1" + closing * depth)


def wrong_metadata(material: Material, rng: random.Random) -> bytes:
    header = material.copy()
    metadata = header["__metadata__"]
    key = rng.choice([*metadata, "format", "requires"])
    metadata[key] = rng.choice(["", "probseg-0", "probseg-1", "probseg-3", "[]", "{", *TEXTS, 3])
    if rng.random() < 0.3:
        del metadata[key]
    return material.packed(header)


def deep_spec(material: Material, rng: random.Random) -> bytes:
    depth = rng.choice([10, 40, 5000, 300_000])
    nested = rng.choice(["[" * depth + "]" * depth, '{"name":' * depth + "1" + "}" * depth])
    header = material.copy()
    spec = header["__metadata__"]["spec"]
    header["__metadata__"]["spec"] = rng.choice([nested, spec[:-1] + f', "kl": {nested}}}'])
    return material.packed(header)


def forged_spec(material: Material, rng: random.Random) -> bytes:
    """Somebody wrote another description, with its right digest or as an older file without one."""
    header = material.copy()
    metadata = header["__metadata__"]
    spec = json.loads(metadata["spec"])
    for _ in range(rng.choice([1, 1, 2])):
        forge(spec, rng)
    metadata["spec"] = json.dumps(spec)
    if rng.random() < 0.5:
        header["__metadata__"] = {"format": "probseg-1", "spec": metadata["spec"]}
    else:
        metadata["digest"] = _digest(metadata, STATE)
    return material.packed(header)


def forge(spec: Any, rng: random.Random) -> None:
    """Change one value somewhere in plain data, in place."""
    places = list(spec) if isinstance(spec, dict) else list(range(len(spec)))
    if not places:
        return
    place = rng.choice(places)
    inside = spec[place]
    if isinstance(inside, dict | list) and inside and rng.random() < 0.7:
        forge(inside, rng)
        return
    kind = rng.random()
    if isinstance(spec, dict) and kind < 0.1:
        del spec[place]
    elif isinstance(spec, dict) and kind < 0.2:
        spec[rng.choice(TEXTS)] = spec.pop(place)
    else:
        spec[place] = rng.choice([*NUMBERS, *TEXTS, *OTHERS, [10**6] * 3, 10**5, 4096])


def config_of(text: bytes, rng: random.Random) -> bytes:
    """Return a damaged ``config.json``."""
    kind = rng.randrange(4)
    if kind == 0:
        content = bytearray(text)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return bytes(content)
    if kind == 1:
        return text[: rng.randrange(len(text))]
    if kind == 2:
        return rng.choice([b"[" * 10**6, b"{" * 10**5, b"\xff\xfe", b"null", b"[]", b"1" * 5000])
    config = json.loads(text)
    forge(config, rng)
    return json.dumps(config).encode()


KINDS: tuple[Callable[[Material, random.Random], bytes], ...] = (
    flipped_bits,
    truncated,
    extended,
    spliced,
    wrong_header_length,
    wrong_shapes,
    wrong_types,
    wrong_offsets,
    wrong_names,
    many_tensors,
    deep_header,
    wrong_metadata,
    deep_spec,
    forged_spec,
    forged_spec,
    forged_spec,
)
FORGED = ("forged_spec",)  # whoever forges the digest too may get the model that he describes
STATE: dict[str, torch.Tensor] = {}


def right(model: Any, original: Any, kind: str) -> bool:
    """Whether what was loaded is what was saved."""
    state = model.state_dict()
    same = state.keys() == STATE.keys() and all(torch.equal(state[n], STATE[n]) for n in STATE)
    return same and (kind in FORGED or model.spec == original.spec)


def main(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run the cases and return the counts."""
    torch.manual_seed(0)
    original = probseg.build("2p-planar", **OPTIONS)
    STATE.update(original.state_dict())
    original.save_pretrained(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    probseg.backbones["smp"]  # its libraries take seconds to import, which no case shall count
    material, text = Material(weights.read_bytes()), config.read_bytes()
    baseline = peak()
    outcomes: Counter[str] = Counter()
    for case in range(count):
        rng = random.Random(f"{seed}/{case}")
        kind = rng.choice([*(kind.__name__ for kind in KINDS), "config"])
        if kind == "config":
            weights.write_bytes(material.content)
            config.write_bytes(config_of(text, rng))
        else:
            config.unlink(missing_ok=True)
            weights.write_bytes(globals()[kind](material, rng))
        print(f"case {case} of seed {seed}: {kind}", file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcomes[f"{kind}: {outcome(folder, original, kind)}"] += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
    shutil.rmtree(folder)
    return {"count": count, "before": baseline, "peak": peak(), "outcomes": outcomes}


def peak() -> int:
    """Return the most memory that this process held, in KiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage begins with what the process held that started this one
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def outcome(folder: Path, original: Any, kind: str) -> str:
    """Load what lies in the folder and say what came of it."""
    try:
        model = probseg.from_pretrained(folder)
    except ProbsegError as error:
        message = str(error)
        message.encode()  # can be shown
        return "refused" if len(message) < 10_000 else f"long: {message[:200]}"
    except Exception:
        return f"wrong: {traceback.format_exc()[-600:]}"
    return "loaded" if right(model, original, kind) else "wrong: another model"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
