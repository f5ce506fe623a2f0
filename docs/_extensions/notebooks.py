"""Notebooks: each ``docs/notebooks/NAME.py`` is executed, and becomes a page and a ``NAME.ipynb``.

The files are in jupytext's percent format. A cell that draws says what is to be seen, for those who
cannot see it: ``# %% alt="…"``. A cell that fails ends the build.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from rich.text import Text

_SECONDS = 600  # of a cell; a busy machine takes several times as long as an idle one


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace each notebook by its page, its pictures and the notebook with outputs."""
    sources = [file for file in files if Path(file.src_uri).match("notebooks/*.py")]
    for file, notebook in zip(sources, asyncio.run(_execute_all(sources)), strict=True):
        files.remove(file)
        for name, content in _convert(Path(file.src_uri).stem, notebook):
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


async def _execute_all(sources: list[File]) -> list[NotebookNode]:
    with TemporaryDirectory() as folder:
        return await asyncio.gather(*(_execute(file, Path(folder)) for file in sources))


async def _execute(file: File, folder: Path) -> NotebookNode:
    """Execute a notebook in a folder of its own, on one thread, since others run beside it."""
    notebook = jupytext.read(file.abs_src_path)
    place = folder / Path(file.src_uri).stem
    place.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PROBSEG_CACHE": str(place / "cache")}
    client = NotebookClient(
        notebook,
        timeout=_SECONDS,
        startup_timeout=_SECONDS,
        extra_arguments=["--log-level=40"],  # errors only
        resources={"metadata": {"path": str(place)}},
    )
    try:
        await client.async_execute(env=environment)
    except CellExecutionError as error:
        raise PluginError(f"{file.src_uri}: a cell failed\n{error}") from error
    return notebook


def _convert(name: str, notebook: NotebookNode) -> Iterator[tuple[str, str | bytes]]:
    """Yield the files of the site: pictures, the notebook and its page."""
    text = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text.append(cell.source)
            continue
        text.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if picture := output.get("data", {}).get("image/png"):
                file = f"{name}-{number}.png"
                if "alt" not in cell.metadata:
                    raise PluginError(f"{name}: write '# %% alt=\"…\"' above\n{cell.source}")
                text.append(f"![{cell.metadata.alt}]({file})")
                yield file, b64decode(picture)
            else:
                shown = Text.from_ansi(output.get("text") or output.data["text/plain"]).plain
                text.append(f"```text\n{shown.rstrip()}\n```")
    text.append(f"[Download this page as a notebook]({name}.ipynb).")
    yield f"{name}.ipynb", nbformat.writes(notebook)
    yield f"{name}.md", "\n\n".join(text)
