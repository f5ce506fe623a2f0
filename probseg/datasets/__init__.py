"""Data sets: images, each with the annotations of several people."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="dataset",
    builtin={
        "ambiguous-shapes": "probseg.datasets.shapes:AmbiguousShapes",
        "contours": "probseg.datasets.contours:contours",
        "folder": "probseg.datasets.folder:folder",
        "lidc": "probseg.datasets.lidc:lidc",
        "qubiq-brain-growth": "probseg.datasets.qubiq:brain_growth",
        "qubiq-brain-tumor-1": "probseg.datasets.qubiq:brain_tumor_1",
        "qubiq-brain-tumor-2": "probseg.datasets.qubiq:brain_tumor_2",
        "qubiq-brain-tumor-3": "probseg.datasets.qubiq:brain_tumor_3",
        "qubiq-kidney": "probseg.datasets.qubiq:kidney",
        "qubiq-pancreas": "probseg.datasets.qubiq:pancreas",
        "qubiq-pancreatic-lesion": "probseg.datasets.qubiq:pancreatic_lesion",
        "qubiq-prostate-1": "probseg.datasets.qubiq:prostate_1",
        "qubiq-prostate-2": "probseg.datasets.qubiq:prostate_2",
    },
)
