"""The command line that our benchmark programs have in common."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path


def arguments_of_all(parser: argparse.ArgumentParser) -> None:
    """Add them; the program adds --quick and --cache, to say what they do."""
    parser.add_argument("--python", required=True, type=Path, help="our build")
    parser.add_argument("--stock", required=True, type=Path,
                        help="a stock build of the same release and compiler options")
    parser.add_argument("--optimised", action="store_true",
                        help="build both with --enable-optimizations, if that is not done, and "
                             "compare these")
    parser.add_argument("--build-optimised", metavar="COMMAND",
                        help="shell command that does this and prints where the two are (make "
                             "gives it)")
    parser.add_argument("--rounds", type=int, help="default: 5 (1 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw data there")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the defaults that depend on others; the process ends if they are
    unusable."""
    arguments = parser.parse_args()
    if arguments.optimised:
        build_optimised(parser, arguments)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    for option in ("python", "stock"):
        path = getattr(arguments, option).absolute()
        if not os.access(path, os.X_OK) or path.is_dir():
            parser.error(f"--{option}: {path} is not a program")
        setattr(arguments, option, path)
    arguments.cache = arguments.cache or arguments.stock.parent / "bench-peers"
    return arguments


def build_optimised(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Put optimised builds in the place of those given."""
    if not arguments.build_optimised:
        parser.error("--optimised needs --build-optimised, which make bench gives")
    done = subprocess.run(arguments.build_optimised, shell=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        parser.error("--optimised: the build failed; its messages are above")
    ours, stock = done.stdout.splitlines()
    arguments.python, arguments.stock = Path(ours), Path(stock)
