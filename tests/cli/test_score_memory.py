"""`probseg score` holds some images at a time: its memory does not grow with their number."""

import subprocess
import sys

import numpy as np
import pytest

SAMPLES, SIDE = 100, 128
FEW, MANY = 40, 240  # images: more than are read ahead
IMAGE = SAMPLES * SIDE * SIDE  # bytes of an image's masks


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("score")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    reach = np.hypot(y - 64, x - 64)
    for images in (FEW, MANY):
        for case in range(images):
            for side, count in (("samples", SAMPLES), ("annotations", 4)):
                folder = root / f"{images}" / side / f"case{case}"
                folder.mkdir(parents=True)
                radii = random.uniform(10, 40, size=(count, 1, 1))
                np.savez_compressed(folder / "masks.npz", (reach < radii).astype(np.uint8))
    return root


def peak(root):
    """Return the largest memory that the command takes, in bytes."""
    program = (
        "import resource, sys; from probseg.cli import main; status = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); "
        "sys.exit(status)"
    )
    folders = ("--samples", str(root / "samples"), "--annotations", str(root / "annotations"))
    ran = subprocess.run(
        [sys.executable, "-c", program, "score", *folders, "--metrics", "ged", "ece", "w-iou"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stderr.split()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_six_times_the_images_take_no_more_memory(folders):
    more = peak(folders / str(MANY)) - peak(folders / str(FEW))
    assert more < (MANY - FEW) * IMAGE / 2  # half of what the further masks take, in bytes
