"""The colour of each row of the benchmark, the same in every figure."""

from __future__ import annotations

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {
    "punet": "#0072B2",
    "2p-planar": "#E69F00",
    "csae": "#009E73",
    "csae-two-flows": "#56B4E9",
    "csae-own": "#CC79A7",
    "csae-posterior": "#D55E00",
    "deterministic": "#777777",
    "annotators": "#333333",
}
