"""Run all tests in two halves, side by side: ``python -m tests [arguments of pytest]``.

One half looks at processes, ``/dev/shm`` and whole clusters, which must be nobody else's. Its
output is shown as it comes, that of the other when it has ended.
"""

import subprocess
import sys
import tempfile

WATCHFUL = ["vectorization", "seeds", "bench", "commands", "test_notebooks.py"]


def main(arguments: list[str]) -> int:
    """Run both; return 0 if both passed."""
    pytest = [sys.executable, "-m", "pytest", "-q", *arguments]
    watchful = [f"tests/{name}" for name in WATCHFUL]
    with tempfile.TemporaryFile() as output:
        others = subprocess.Popen(
            [*pytest, "tests", "-p", "no:cacheprovider", *(f"--ignore={it}" for it in watchful)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            codes = [subprocess.run([*pytest, *watchful], check=False).returncode, others.wait()]
        finally:
            others.kill()
            output.seek(0)
            print(output.read().decode(errors="replace"), flush=True)
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
