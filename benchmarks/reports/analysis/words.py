"""What the paper calls its models, data sets and metrics."""

from __future__ import annotations

PAPER_ROWS = ("csae", "2p-planar", "punet")
MODELS = {"punet": "PU-Net", "2p-planar": "2p-planar", "csae": "cSAE"}
DATASETS = {
    "lidc": "LIDC-IDRI",
    "qubiq-pancreas": "QUBIQ pancreas",
    "qubiq-pancreatic-lesion": "QUBIQ pancreatic lesion",
    "qubiq-brain-growth": "QUBIQ brain growth",
    "qubiq-brain-tumor-1": "QUBIQ brain tumor, task 1",
    "qubiq-brain-tumor-2": "QUBIQ brain tumor, task 2",
    "qubiq-brain-tumor-3": "QUBIQ brain tumor, task 3",
}
METRICS = {
    "w-iou": "Ŵ (1 − IoU)",
    "w-dice": "Ŵ (1 − Dice)",
    "w-hausdorff": "Ŵ (Hausdorff)",
    "w-cross-entropy": "Ŵ (cross-entropy)",
    "gini": "Gini index",
    "ged": "GED",
    "hungarian-iou": "Hungarian-matched IoU",
    "ncc": "correlation of uncertainty with disagreement (NCC)",
    "diversity": "diversity",
}


def model(row: str) -> str:
    """Return a row's name as the paper prints it."""
    return MODELS.get(row, row)


def dataset(name: str) -> str:
    """Return a data set's name as the paper prints it."""
    return DATASETS.get(name, name)


def metric(name: str) -> str:
    """Return a metric's name in words."""
    return METRICS.get(name, name)
