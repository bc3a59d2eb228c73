"""The notebooks run, from the first cell to the last, and give what is stored in them."""

import nbformat
import pytest

from tests.tools.notebooks import NOTEBOOKS, run, texts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")  # jupyter's own
def test_notebook_gives_what_is_stored(path):
    notebook, stored = run(path), nbformat.read(path, as_version=4)
    assert texts(notebook) == texts(stored)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    noise = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not noise


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_are_stored(path):
    stored = nbformat.read(path, as_version=4)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 500_000


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 6
