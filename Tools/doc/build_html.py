"""Make web pages of Doc/ with Sphinx, which is installed from PyPI into an environment of its own.

    build_html.py --environment DIR --out DIR

Run with the interpreter that the pages are about.  Warnings are errors.  Exit status: 0 made, 1 something is wrong with
the text, 77 skipped because Sphinx cannot be installed.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from environment import HERE, REPOSITORY, Unavailable, make

SKIPPED = 77


def build(python: Path, out: Path) -> int:
    """Run Sphinx; its exit status."""
    command = [python, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", out / "doctrees",
               REPOSITORY / "Doc", out / "html"]
    return subprocess.run([str(word) for word in command], check=False).returncode


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True, metavar="DIR", help="where Sphinx is installed")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the pages are in DIR/html")
    args = parser.parse_args(argv)
    try:
        python = make(Path(sys.executable), args.environment, HERE / "requirements.txt")
    except Unavailable as reason:
        print(f"stackless: no web pages: Sphinx cannot be installed: {reason}", file=sys.stderr)
        return SKIPPED
    if build(python, args.out):
        return 1
    print(f"stackless: the pages are in {args.out / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
