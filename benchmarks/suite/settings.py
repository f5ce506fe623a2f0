"""The settings that a suite can give, and what each of them says something about."""

from __future__ import annotations

from benchmarks.suite.validation import schema

# Of the model, the data and the evaluation; the others are the trainer's.
MODEL = (
    *("latent_dim", "beta", "gamma", "n_ot", "class_prior"),
    *("backbone", "encoder", "decoder", "divergence"),
)
DATA = ("crop", "split", "split_seed", "images", "validation_images")
EVALUATION = ("n_eval", "evaluation_batch")

# Settings that are an option of one of the model's parts, wherever the model takes that part.
OF_PARTS = {"n_ot": ("divergence", "samples"), "class_prior": ("decoder", "class_prior")}


def names() -> list[str]:
    """Return the names of all settings."""
    return list(schema("suite")["$defs"]["settings"]["properties"])
