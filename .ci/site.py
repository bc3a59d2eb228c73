"""What MkDocs does not do by itself, for `make docs`.

Files outside ``docs/`` become pages; links keep working both in the repository and on the site;
the roles of docstrings become links.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["Roles", "on_files", "on_page_markdown"]

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    *sorted(f"notebooks/{path.name}" for path in ROOT.glob("notebooks/*.ipynb")),
]
"""Files of the repository that are pages too, with the same path."""
FOLDERS = {
    "notebooks": "notebooks/01_save_and_restore.ipynb",
    "docs/examples": "examples/README.md",
}
"""What a link to a folder of the repository leads to."""
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")
PRINTED = re.compile(r"^```\n\$ python (\w+\.py)\n", re.MULTILINE)


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    for path in PAGES:
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of the repository, where pages are in ``docs/``, into those of the site."""
    place = page.file.src_uri
    here = posixpath.dirname(place)
    folder = here if place in PAGES else posixpath.join("docs", here)

    def moved(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        there = FOLDERS.get(path) or path.removeprefix("docs/")
        return before + posixpath.relpath(there, here or ".") + after

    if place == "examples/README.md":
        markdown = PRINTED.sub(_with_script, markdown)
    return LINK.sub(moved, markdown)


def _with_script(match: re.Match[str]) -> str:
    """The script, folded, before what it prints."""
    lines = (ROOT / "docs/examples" / match[1]).read_text().splitlines()
    code = "\n".join(f"    {line}" for line in ["```python", *lines, "```"])
    return f'??? example "{match[1]}"\n\n{code}\n\n{match[0]}'


class Roles(griffe.Extension):
    """Docstrings: ``:class:`~a.b.C``` becomes a link to ``C``; the ``::`` before code goes."""

    role = re.compile(r":(?:class|meth|func|attr|mod):`~?([\w.]+)`")

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every class, function, module and attribute."""
        if obj.docstring is None:
            return

        def link(match: re.Match[str]) -> str:
            name = match[1].lstrip(".")
            try:
                path = obj.resolve(name)
            except griffe.NameResolutionError:
                path = name
            short = name.rpartition(".")[2]
            return f'<autoref identifier="{path}" optional><code>{short}</code></autoref>'

        text = re.sub(r"^(\s*)::\n", r"\1\n", obj.docstring.value, flags=re.MULTILINE)
        obj.docstring.value = self.role.sub(link, re.sub(r"::$", ":", text, flags=re.MULTILINE))
