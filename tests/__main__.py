"""Run all tests in parts, three of them side by side: ``python -m tests [arguments of pytest]``.

Much of a test's time goes by in waiting for processes, so that three parts keep two cores busy. The
first part's output is shown as it comes, that of the others when they have ended.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PARTS = [
    ["tests/vectorization", "tests/vector"],
    ["tests/envs"],
    ["tests"],  # whatever is in none of the others
    ["tests/vectorization/ray"],
    ["tests/test_notebooks.py"],
]
SIDE_BY_SIDE = 3


def main(arguments: list[str]) -> int:
    """Run the parts; return 0 if all passed."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]

    def run(part: list[str]) -> subprocess.CompletedProcess[str]:
        elsewhere = [path for other in PARTS if other is not part for path in other]
        inside = [path for path in elsewhere if any(path.startswith(f"{mine}/") for mine in part)]
        others = [f"--ignore={path}" for path in inside]
        shown_at_once = part == PARTS[0]
        output = {} if shown_at_once else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run([*pytest, *part, *others], text=True, check=False, **output)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        codes = []
        for part in pool.map(run, PARTS):
            print(part.stdout or "", flush=True)
            codes.append(part.returncode)
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
