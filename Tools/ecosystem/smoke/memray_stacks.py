"""memray: memory that greenlets allocate in turns is attributed to the stacks of those who did."""
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = 3_000_000
EXPECTED = [["deep"] * 21, ["deep"] * 21, ["deep"] * 6, ["program"]]


def program():
    import greenlet
    main = greenlet.getcurrent()
    kept = []

    def deep(n, sizes):
        if n:
            return deep(n - 1, sizes)
        for size in sizes:
            main.switch()
            kept.append(bytearray(size))

    a, b = greenlet.greenlet(deep), greenlet.greenlet(deep)
    a.switch(20, [SIZE, SIZE + 1])
    b.switch(5, [SIZE + 2])
    for g in a, b, a:
        g.switch()
    kept.append(bytearray(SIZE + 3))


def stacks(path):
    """Of the allocations, in their order, the functions above that are on them."""
    import memray
    found = {}
    with memray.FileReader(path) as reader:
        for record in reader.get_allocation_records():
            if SIZE <= record.size < SIZE + 100:
                # A bytearray takes a byte more.
                found[record.size - SIZE - 1] = [name for name, _, _ in record.stack_trace()
                                                 if name in ("deep", "program")]
    return [found.get(number) for number in range(len(EXPECTED))]


def track_from_the_beginning(path):
    subprocess.run([sys.executable, "-m", "memray", "run", "-q", "-o", path, __file__, "run"], check=True)


def track_the_program(path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" \
           f"import memray, memray_stacks\nwith memray.Tracker({str(path)!r}): memray_stacks.program()\n"
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        program()
    else:
        with tempfile.TemporaryDirectory() as directory:
            for track in track_from_the_beginning, track_the_program:
                path = Path(directory, track.__name__)
                track(path)
                got = stacks(path)
                assert got == EXPECTED, (track.__name__, got)
