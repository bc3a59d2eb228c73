"""Run all tests in three parts, side by side: ``python -m tests [arguments of pytest]``.

Much of a test's time goes by in waiting for processes, so that three parts keep two cores busy. The
first part's output is shown as it comes, that of the others when they have ended.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

WORKERS = ["tests/vectorization"]
ENGINES = ["tests/envs"]


def main(arguments: list[str]) -> int:
    """Run the parts; return 0 if all passed."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    rest = ["tests", *(f"--ignore={path}" for path in [*WORKERS, *ENGINES])]

    def in_silence(part: list[str]) -> subprocess.CompletedProcess[str]:
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run([*pytest, *part], text=True, check=False, **output)

    with ThreadPoolExecutor() as pool:
        others = pool.map(in_silence, [ENGINES, rest])
        codes = [subprocess.run([*pytest, *WORKERS], check=False).returncode]
        for other in others:
            print(other.stdout, flush=True)
            codes.append(other.returncode)
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
