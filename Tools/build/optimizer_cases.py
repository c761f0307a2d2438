"""Run upstream's optimizer_generator with several base files.

Usage: optimizer_cases.py -o OUTPUT BASE...    (in the build tree)

Its command line takes the last file as the base and all others as abstract
definitions, so bytecode overrides in a second base file can't be given there.
"""

import sys
from pathlib import Path

TREE = Path.cwd()
sys.path.insert(0, str(TREE / "Tools/cases_generator"))

from analyzer import analyze_files
from optimizer_generator import generate_abstract_interpreter

ABSTRACT = "Python/optimizer_bytecodes.c"


def main(output: str, bases: list[str]) -> None:
    abstract = analyze_files([ABSTRACT])
    base = analyze_files(bases)
    # The path goes into the head comment, relative to the tree.
    names = [str(TREE / ABSTRACT)]
    with open(output, "w") as file:
        generate_abstract_interpreter(names, abstract, base, file, debug=False)


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] != "-o":
        sys.exit(__doc__)
    main(sys.argv[2], sys.argv[3:])
