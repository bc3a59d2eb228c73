"""Run notebooks and store their outputs: ``python -m tests.tools.notebooks [PATH ...]``.

Outputs that differ from run to run are those of cells with the tag ``varies``. Take the stored ones
from an idle machine.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

__all__ = ["NOTEBOOKS", "run", "texts"]

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
GIF = base64.b64encode(b"GIF89").decode()[:6]


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=150, kernel_name="python3", record_timing=False, coalesce_streams=True
    ).execute()
    return notebook


def texts(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each cell prints and returns, without images; of a cell that varies nothing."""
    return [
        [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
        for cell in notebook.cells
        if cell.cell_type == "code" and "varies" not in cell.metadata.get("tags", ())
        for outputs in [cell.outputs]
    ]


def _shrink(data: dict[str, str]) -> None:
    """One image with at most 256 colours is enough; a GIF stays as it is."""
    data.pop("image/jpeg", None)
    if "image/png" in data and not data["image/png"].startswith(GIF):
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        small = io.BytesIO()
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG")
        data["image/png"] = base64.b64encode(small.getvalue()).decode()


def main(paths: list[Path]) -> None:
    """Run and store."""
    for path in paths:
        notebook = run(path)
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                _shrink(output.get("data", {}))
        notebook.metadata.pop("language_info", None)
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size >> 10} KB")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or NOTEBOOKS)
