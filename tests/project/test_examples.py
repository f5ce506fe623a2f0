"""The examples in README and the guide run as they stand."""

import pytest


def _python(blocks, page):
    return [b.code for b in blocks(page) if b.language == "python" and not b.title]


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md", "docs/plugins.md"])
def test_python_blocks_run_one_after_the_other(page, blocks, run, tmp_path):
    code = "\n".join(_python(blocks, page))
    assert code, f"{page} has no Python block"
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    run("-W", "error", "example.py", cwd=tmp_path)
