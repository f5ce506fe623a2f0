"""It is run and reported beside the models of probseg, though no suite has a row for it."""

import json

import pytest

run = pytest.importorskip("benchmarks.run", reason="the benchmark is in the checkout of probseg")

NETWORKS = '{ name = "%s", channels = [4, 8], convolutions = 1 }'
SETTINGS = (
    *("max_steps=4", "validate_every=2", "batch_size=4", "crop=16", "latent_dim=2", "n_ot=3"),
    *("images=4", "validation_images=4", "n_eval=3", "class_prior=[0.5, 0.5]"),
    *(f"backbone={NETWORKS % 'unet'}", f"encoder={NETWORKS % 'axis-aligned'}"),
)


def test_it_is_benchmarked_beside_the_csae(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "cache"))
    rows = ["--models", "ssn", "csae", "--baselines"]
    where = ["--device", "cpu", "--out", str(tmp_path / "out")]
    choice = ["--datasets", "ambiguous-shapes", "--profile", "quick"]
    assert run.main([*choice, *rows, *where, "--set", *SETTINGS]) == 0
    cells = (tmp_path / "out" / "cells").glob("quick/ambiguous-shapes/*/*/result.json")
    done = {cell.parents[1].name: json.loads(cell.read_text()) for cell in cells}
    assert set(done) == {"ssn", "csae"}
    ssn, csae = (done[row]["means"]["base"] for row in ("ssn", "csae"))
    assert set(csae) - set(ssn) == {
        *("gini", "gini-variance", "effective-rank", "latent-kl", "prior-scale")
    }
    assert ssn["diversity"] > 0  # so more than one sample was asked for
    assert done["ssn"]["training"]["spec"]["backbone"]["channels"] == [4, 8]
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert all(f"\n| {row} |" in table for row in ("ssn", "csae"))
    assert "ssn: Build a Stochastic Segmentation Network: a low-rank Gaussian over the logits." in (
        table
    )
    assert "ssn" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
