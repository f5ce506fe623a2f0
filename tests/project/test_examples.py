"""The examples in README and the guide run as they stand."""

import runpy

import pytest

PAGES = ("getting-started", "plugins", "extending", "metrics")
SLOW = ("own-data", "sharing")  # which train and save models


@pytest.mark.untraced  # whoever runs an example runs it so
@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(f"docs/{page}.md" for page in PAGES),
        *(pytest.param(f"docs/{page}.md", marks=pytest.mark.slow) for page in SLOW),
    ],
)
def test_python_blocks_run_one_after_the_other(page, blocks, tmp_path, monkeypatch):
    code = [b.code for b in blocks(page) if b.language == "python" and not b.title]
    assert code, f"{page} has no Python block"
    (tmp_path / "example.py").write_text("\n".join(code), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")


@pytest.fixture(autouse=True)
def _forget_what_examples_register():
    import probseg

    yield
    if "mine" in probseg.projectors:
        probseg.projectors.unregister("mine")
