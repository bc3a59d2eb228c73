"""``python -m plangym_lite`` is ``plangym-lite``."""

import sys

from plangym_lite.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
