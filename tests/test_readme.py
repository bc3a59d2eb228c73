"""The README's code prints what the README says; sentences are short, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MOST_WORDS = 30


def sentences(markdown):
    """Sentences, items and cells of tables, without code."""
    text = re.sub(r"```.*?```", "\n\n", markdown, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\n(?=[-#|*\d])", "\n\n", text)  # items, headings and rows stand alone
    blocks = [cell for block in re.split(r"\n\s*\n", text) for cell in block.split("|")]
    parts = [part for block in blocks for part in re.split(r"(?<=[.!?])[*\s]+", block)]
    return [" ".join(part.split()) for part in parts if part.strip()]


def test_code_prints_what_it_says(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    promised = re.search(r"It prints `(.*?)`", README).group(1)
    script = tmp_path / "readme.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == promised


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_sentences_are_short():
    found = sentences(README)
    assert len(found) > 80
    too_long = [part for part in found if len(part.split()) > MOST_WORDS]
    assert not too_long


def test_the_sentence_test_sees_long_sentences():
    long = " ".join(["word"] * 31)
    assert long in sentences(f"Short one. {long}")
    assert sentences("- one item\n- another. And more.\n\n| a | b |\n") == [
        *("- one item", "- another.", "And more.", "a", "b"),
    ]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target
