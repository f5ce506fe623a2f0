"""The build of the documentation executes notebooks, and ends where a cell fails."""

import importlib.util

import pytest

for library in ("jupytext", "ipykernel", "nbclient"):
    pytest.importorskip(library, reason="it comes with the extra docs")
MkDocsConfig = pytest.importorskip("mkdocs.config.defaults").MkDocsConfig
PluginError = pytest.importorskip("mkdocs.exceptions").PluginError
structure = pytest.importorskip("mkdocs.structure.files")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # they start kernels
DRAWN = """
from IPython.display import Image, display
display(Image(data=bytes.fromhex("89504e470d0a1a0a"), format="png"))
"""


@pytest.fixture
def build(root, tmp_path):
    """A function from a notebook's text to the files of the site."""
    place = root / "docs/_extensions/notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", place)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    config = MkDocsConfig()
    config.load_dict({"site_name": "x", "docs_dir": str(tmp_path), "site_dir": str(tmp_path / "s")})
    config.validate()
    config.plugins._current_plugin = None  # which MkDocs itself sets

    def build(text):
        file = tmp_path / "notebooks/one.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        files = structure.Files(
            [structure.File("notebooks/one.py", str(tmp_path), config.site_dir, True)]
        )
        return {made.src_uri: made for made in hook.on_files(files, config)}

    return build


def test_a_notebook_becomes_a_page_with_its_outputs(build):
    files = build(f'# %% [markdown]\n# # Title\n\n# %%\nprint(6 * 7)\n\n# %% alt="a dot"\n{DRAWN}')
    assert set(files) == {f"notebooks/one{end}" for end in (".md", ".ipynb", "-2.png")}
    page = files["notebooks/one.md"].content_string
    assert page.startswith("# Title\n\n```python\nprint(6 * 7)\n```\n\n```text\n42\n```")
    assert "![a dot](one-2.png)" in page
    assert files["notebooks/one-2.png"].content_bytes.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("cell", "message"),
    [("raise ValueError('no such image')", "no such image"), (DRAWN, "alt=")],
)
def test_a_cell_that_fails_or_shows_in_silence_ends_the_build(build, cell, message):
    with pytest.raises(PluginError, match=message):
        build(f"# %%\n{cell}")
