"""Tests of check_overlay: each check is shown to pass on a small made-up release and to fail when it should.

Run: python3 -m unittest discover -s Tools/check_overlay -p 'test_*.py'
"""
from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import binary
import check_overlay
import csource
import overlay as overlays
import patchfile
import upstream

# Stands for upstream's generators: numbers instructions by name, and takes cache sizes from comments.
GENERATOR = r"""
import re, sys
out, inputs = sys.argv[2], sys.argv[3:]
text = "".join(open(name).read() for name in inputs)
if "syntax error" in text:
    sys.exit(1)
names = sorted(set(re.findall(r"^inst\((\w+)", text, re.M)))
with open(out, "w") as stream:
    if "metadata" in sys.argv[0]:
        caches = dict(re.findall(r"^inst\((\w+).*// caches (\d)", text, re.M))
        stream.write("x _PyOpcode_Caches[256] = {" + ",".join(f"[{n}] = {c}" for n, c in caches.items()) + "};")
    else:
        stream.writelines(f"#define {name} {number}\n" for number, name in enumerate(names))
"""

CEVAL = """\
static int helper(int);

/* helper( { */
static int
helper(int a)
{
    if (a) { return '}'; }
    return 0;
}

int
entry(int b)
{
    return helper(b);
}
"""

TSTATE = """\
typedef struct _PyThreadStateImpl {
    PyThreadState base;
    int last;   // upstream's last
} _PyThreadStateImpl;
"""

RELEASE = {
    "Tools/cases_generator/opcode_id_generator.py": GENERATOR,
    "Tools/cases_generator/opcode_metadata_generator.py": GENERATOR,
    "Python/bytecodes.c": "inst(AAA, (--)) { // caches 1\n}\ninst(CCC, (--)) {\n}\n",
    "Include/opcode_ids.h": "#define AAA 0\n#define CCC 1\n",
    "Include/internal/pycore_opcode_metadata.h": "x _PyOpcode_Caches[256] = {[AAA] = 1};\n",
    "Lib/importlib/_bootstrap_external.py": "a = 1\nMAGIC_NUMBER = (3571).to_bytes(2, 'little')\nb = 2\n",
    "Python/ceval.c": CEVAL,
    "Include/internal/pycore_tstate.h": TSTATE,
    "Include/internal/pycore_frame.h": "enum _owner {\n    OWNER_A = 0,\n    OWNER_B = 1\n};\n",
    "Include/cpython/pystate.h": "int before(void);\nstruct _ts {\n    int one;\n    int two;\n};\nint after(void);\n",
    "Lib/test/data.txt": "one\ntwo\nthree\n",
}

HEADER = "Why: a test\nHook: none\nUpstream: no\n"


def diff(path: str, *hunks: str, header: str = HEADER) -> str:
    """The text of a patch of *path*."""
    return f"{header}\n--- a/{path}\n+++ b/{path}\n" + "".join(hunks)


CEVAL_HUNK = "@@ -13,2 +13,3 @@\n {\n+    hook();\n     return helper(b);\n"


class OverlayCase(unittest.TestCase):
    """A made-up overlay, and a cache with two made-up releases."""

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test-check-overlay-"))
        self.addCleanup(shutil.rmtree, self.top)
        self.repo, self.cache = self.top / "repo", self.top / "cache"
        self.cache.mkdir()
        self.releases: dict[str, str] = {}
        self.untested: set[str] = set()
        self.release("3.13.1")
        self.write("Python/stackless_one.c", "int one;\n")
        self.limits = self.data("limits", "patched-files 2\nadded-lines 3\nquoted-lines 8\n")
        self.relies = self.data("relies", "# nothing\n")

    def write(self, path: str, text: str) -> None:
        target = self.repo / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def data(self, name: str, text: str) -> Path:
        path = self.top / name
        path.write_text(text, encoding="utf-8")
        return path

    def release(self, version: str, changed: dict[str, str] | None = None) -> None:
        """Put a release into the cache; *changed*: other texts by path."""
        files = RELEASE | (changed or {})
        tarball = self.cache / f"Python-{version}.tar.xz"
        with tarfile.open(tarball, "w:xz") as archive:
            for path, text in files.items():
                info = tarfile.TarInfo(f"Python-{version}/{path}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        self.releases[version] = hashlib.sha256(tarball.read_bytes()).hexdigest()

    def check(self, *options: str) -> tuple[int, str]:
        """Run the tool; returns its exit status and output."""
        table = "# the table\n" + "".join(f"{version} {sha} {'-' if version in self.untested else sha}\n"
                                         for version, sha in self.releases.items())
        self.write("Tools/build/upstream.txt", table)
        with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
            status = check_overlay.main(["--repo", str(self.repo), "--cache", str(self.cache),
                                         "--limits", str(self.limits), "--relies", str(self.relies), *options])
        return status, output.getvalue()

    def assertPasses(self, *expected: str) -> None:
        status, output = self.check()
        self.assertEqual(status, 0, output)
        for text in expected:
            self.assertIn(text, output)

    def assertProblem(self, *expected: str) -> None:
        status, output = self.check()
        self.assertEqual(status, 1, output)
        problems = "\n".join(line for line in output.splitlines() if line.startswith("PROBLEM"))
        for text in expected:
            self.assertIn(text, problems)


class ReleaseTests(OverlayCase):
    def test_an_overlay_without_patches_passes(self) -> None:
        self.assertPasses("no build at hand", "check-overlay: 0 problems, checked 3.13.1")

    def test_every_release_is_checked(self) -> None:
        self.release("3.13.2")
        self.assertPasses("checked 3.13.1, 3.13.2")

    def test_a_release_that_is_not_at_hand_is_named(self) -> None:
        self.releases["3.13.9"] = "0" * 64
        self.assertPasses("not checked: release 3.13.9")

    def test_no_release_at_hand_is_a_status_of_its_own(self) -> None:
        self.releases = {"3.13.9": "0" * 64}
        self.assertEqual(self.check()[0], 2)

    def test_a_tarball_with_another_hash_is_refused(self) -> None:
        self.releases["3.13.1"] = "0" * 64
        self.assertProblem("Python-3.13.1.tar.xz does not have the pinned SHA-256")


    def changed_and_untested(self) -> None:
        """Tested 3.13.1, and untested 3.13.2, in which a definition that we rely on has changed."""
        self.release("3.13.2", {"Python/ceval.c": CEVAL.replace("return 0", "return 1")})
        self.untested = {"3.13.2"}
        text = csource.extract(CEVAL, "helper")
        self.relies = self.data("relies", f"Python/ceval.c helper {csource.digest(text)} it returns 0\n")

    def test_an_untested_release_is_no_ones_problem(self) -> None:
        self.changed_and_untested()
        self.assertPasses("0 problems, checked 3.13.1;")

    def test_an_untested_release_is_checked_when_named(self) -> None:
        self.changed_and_untested()
        status, output = self.check("--release", "3.13.2")
        self.assertEqual(status, 1, output)
        self.assertIn("PROBLEM: 3.13.2: Python/ceval.c helper has changed", output)
        self.assertIn("1 problem, checked 3.13.2;", output)

    def test_an_untested_release_is_checked_when_built(self) -> None:
        self.changed_and_untested()
        (self.top / "build/Include").mkdir(parents=True)
        (self.top / "build/pyconfig.h").touch()
        (self.top / "build/Include/patchlevel.h").write_text('#define PY_VERSION "3.13.2"\n')
        with mock.patch.object(check_overlay, "check_build"):
            status, output = self.check("--build", str(self.top / "build"))
        self.assertEqual(status, 1, output)
        self.assertIn("1 problem, checked 3.13.1, 3.13.2", output)

    def test_an_unknown_release_is_refused(self) -> None:
        status, output = self.check("--release", "3.13.7")
        self.assertEqual(status, 2, output)
        self.assertIn("--release=3.13.7: there is no such release", output)


class ShadowTests(OverlayCase):
    def test_a_file_of_upstreams_is_refused(self) -> None:
        self.write("Python/ceval.c", "mine")
        self.assertProblem("Python/ceval.c is a file of upstream's")

    def test_our_top_level_and_build_files_are_not_merged(self) -> None:
        for path in ("configure", "README.rst", "Tools/build/ceval.c", "Lib/__pycache__/x.pyc"):
            self.write(path, "ours")
        self.release("3.13.1", {"configure": "theirs", "README.rst": "theirs", "Tools/build/ceval.c": "x"})
        self.assertPasses()

    def test_a_patch_of_a_missing_file_is_refused(self) -> None:
        self.write("Python/gone.c.patch", diff("Python/gone.c", "@@ -1 +1,2 @@\n a\n+b\n"))
        self.assertProblem("Python/gone.c.patch: upstream has no Python/gone.c")


class PatchTests(OverlayCase):
    def patch(self, *hunks: str, header: str = HEADER) -> None:
        self.write("Python/ceval.c.patch", diff("Python/ceval.c", *hunks, header=header))

    def test_a_good_patch_passes_and_is_counted(self) -> None:
        self.patch(CEVAL_HUNK)
        self.assertPasses("patched upstream files 1 of 2, added lines 1 of 3, quoted upstream lines 2 of 8")

    def test_fuzz_is_not_accepted(self) -> None:
        self.patch("@@ -12,4 +12,5 @@\n other(int b)\n {\n+    hook();\n     return helper(b);\n }\n")
        self.assertProblem("3.13.1: Python/ceval.c.patch does not apply", "FAILED")

    def test_it_must_apply_to_every_release(self) -> None:
        self.release("3.13.2", {"Python/ceval.c": CEVAL.replace("helper(b)", "helper(b + 1)")})
        self.patch(CEVAL_HUNK)
        self.assertProblem("3.13.2: Python/ceval.c.patch does not apply")

    def test_a_moved_hunk_with_one_place_passes(self) -> None:
        self.release("3.13.2", {"Python/ceval.c": "\n\n\n" + CEVAL})
        self.patch(CEVAL_HUNK)
        self.assertPasses()

    def test_a_moved_hunk_with_two_places_is_refused(self) -> None:
        self.release("3.13.2", {"Python/ceval.c": "\n" + CEVAL + CEVAL.replace("entry", "again")})
        self.patch(CEVAL_HUNK)
        self.assertProblem("3.13.2: Python/ceval.c.patch: the hunk at line 13 fits at 2 places")

    def test_each_part_of_the_header_is_required(self) -> None:
        for heading in patchfile.HEADINGS:
            with self.subTest(heading):
                self.patch(CEVAL_HUNK, header=HEADER.replace(heading, "Whatever:"))
                self.assertProblem(f'no line that begins with "{heading}"')

    def test_three_lines_of_context_are_too_many(self) -> None:
        self.patch("@@ -12,4 +12,5 @@\n int\n entry(int b)\n {\n+    hook();\n     return helper(b);\n")
        self.assertProblem("quotes more than 2 lines of context a side")

    def test_four_lines_between_two_changes_are_two_a_side(self) -> None:
        hunk = patchfile.parse("x.patch", diff("x", "@@ -1,4 +1,6 @@\n+1\n a\n b\n c\n d\n+2\n")).hunks[0]
        self.assertEqual(hunk.context_runs(), [0, 4, 0])
        self.assertEqual(patchfile.form_problems(patchfile.parse(
            "x.patch", diff("x", "@@ -1,4 +1,6 @@\n+1\n a\n b\n c\n d\n+2\n"))), [])

    def test_removed_lines_count_as_quoted(self) -> None:
        self.patch("@@ -13,3 +13,3 @@\n {\n-    return helper(b);\n+    return hook(b);\n }\n")
        self.assertPasses("quoted upstream lines 3 of 8")

    def test_the_patch_must_edit_the_file_it_is_named_for(self) -> None:
        self.write("Python/ceval.c.patch", diff("Python/bytecodes.c", CEVAL_HUNK))
        self.assertProblem("edits Python/bytecodes.c")

    def test_lines_outside_hunks_are_named(self) -> None:
        self.patch(CEVAL_HUNK, "garbage\n")
        self.assertProblem("a line that belongs to no hunk: garbage")

    def test_the_caps(self) -> None:
        self.patch(CEVAL_HUNK)
        for name in ("patched-files", "added-lines", "quoted-lines"):
            with self.subTest(name):
                numbers = {"patched-files": 9, "added-lines": 9, "quoted-lines": 9, name: 0}
                self.limits = self.data("limits", "".join(f"{key} {value}\n" for key, value in numbers.items()))
                self.assertProblem(f"{name}:", "the limit is 0")

    def test_test_data_counts_apart(self) -> None:
        self.write("Lib/test/data.txt.patch", diff("Lib/test/data.txt", "@@ -2,2 +2,3 @@\n two\n+more\n three\n"))
        self.assertPasses("patched upstream files 0 of 2, added lines 0 of 3",
                          "test data apart: 1 files, 1 added lines")


class BytecodeTests(OverlayCase):
    def test_an_override_keeps_the_numbers(self) -> None:
        self.write(overlays.BYTECODES, "inst(AAA, (--)) {\n}\n")
        self.assertPasses()

    def test_a_new_instruction_renumbers(self) -> None:
        self.write(overlays.BYTECODES, "inst(BBB, (--)) {\n}\n")
        self.assertProblem("1 opcode numbers are not upstream's: CCC 1 -> 2",
                           "opcodes that upstream does not have: BBB")

    def test_a_changed_cache_size(self) -> None:
        self.write(overlays.BYTECODES, "inst(CCC, (--)) { // caches 3\n}\n")
        self.assertProblem("inline cache sizes are not upstream's: CCC")

    def test_what_the_generators_refuse(self) -> None:
        self.write(overlays.BYTECODES, "syntax error\n")
        self.assertProblem("upstream's generators do not accept Python/bytecodes.c Python/stackless_bytecodes.c")

    def test_a_changed_magic_number(self) -> None:
        path = "Lib/importlib/_bootstrap_external.py"
        self.write(f"{path}.patch", diff(path, "@@ -1,3 +1,3 @@\n a = 1\n-MAGIC_NUMBER = (3571).to_bytes(2, 'little')\n"
                                         "+MAGIC_NUMBER = (3572).to_bytes(2, 'little')\n b = 2\n"))
        self.assertProblem("the .pyc magic number is not upstream's")

    def test_a_release_without_a_magic_number(self) -> None:
        self.release("3.13.1", {"Lib/importlib/_bootstrap_external.py": ""})
        self.assertProblem("no .pyc magic number found")


class LayoutTests(OverlayCase):
    def patch(self, path: str, hunk: str) -> None:
        self.write(f"{path}.patch", diff(path, hunk))

    def test_a_member_in_a_public_struct(self) -> None:
        self.patch("Include/cpython/pystate.h", "@@ -4,2 +4,3 @@\n     int two;\n+    int ours;\n };\n")
        self.assertProblem("changes the layout of struct _ts")

    def test_a_declaration_beside_it_passes(self) -> None:
        self.patch("Include/cpython/pystate.h", "@@ -5,2 +5,3 @@\n };\n int after(void);\n+int ours(void);\n")
        self.assertPasses()

    def test_a_changed_line_of_a_public_header(self) -> None:
        self.patch("Include/cpython/pystate.h", "@@ -6 +6 @@\n-int after(void);\n+int after(int);\n")
        self.assertProblem("changes lines of a public header")

    def test_our_state_at_the_end_of_the_threads_passes(self) -> None:
        self.patch("Include/internal/pycore_tstate.h",
                   "@@ -3,2 +3,3 @@\n     int last;   // upstream's last\n+    int ours;\n } _PyThreadStateImpl;\n")
        self.assertPasses()

    def test_our_state_before_the_end_does_not(self) -> None:
        self.patch("Include/internal/pycore_tstate.h",
                   "@@ -2,2 +2,3 @@\n     PyThreadState base;\n+    int ours;\n     int last;   // upstream's last\n")
        self.assertProblem("changes the layout of struct _PyThreadStateImpl")

    def test_an_internal_enum_may_grow_at_the_end(self) -> None:
        self.patch("Include/internal/pycore_frame.h",
                   "@@ -3,2 +3,3 @@\n-    OWNER_B = 1\n+    OWNER_B = 1,\n+    OWNER_C = 2\n };\n")
        self.assertPasses()

    def test_an_internal_enum_keeps_its_values(self) -> None:
        self.patch("Include/internal/pycore_frame.h",
                   "@@ -2,3 +2,3 @@\n     OWNER_A = 0,\n-    OWNER_B = 1\n+    OWNER_B = 2\n };\n")
        self.assertProblem("changes the layout of enum _owner")


class ReliesTests(OverlayCase):
    def line(self, definition: str, path: str = "Python/ceval.c", text: str | None = None) -> str:
        found = csource.extract(text or RELEASE[path], definition)
        assert found is not None
        return f"{path} {definition} {csource.digest(found)} because of this\n"

    def test_an_unchanged_function_passes(self) -> None:
        self.relies = self.data("relies", self.line("helper"))
        self.assertPasses()

    def test_a_changed_function_is_named_with_the_reason(self) -> None:
        self.relies = self.data("relies", self.line("helper"))
        self.release("3.13.2", {"Python/ceval.c": CEVAL.replace("if (a)", "if (!a)")})
        self.assertProblem("3.13.2: Python/ceval.c helper has changed", "because of this")

    def test_white_space_does_not_count(self) -> None:
        self.relies = self.data("relies", self.line("helper"))
        self.release("3.13.2", {"Python/ceval.c": CEVAL.replace("if (a) {", "if (a)\n    {\t")})
        self.assertPasses()

    def test_several_hashes_for_several_releases(self) -> None:
        newer = CEVAL.replace("if (a)", "if (!a)")
        self.release("3.13.2", {"Python/ceval.c": newer})
        self.relies = self.data("relies", self.line("helper") + self.line("helper", text=newer))
        self.assertPasses()

    def test_a_function_that_is_gone(self) -> None:
        self.relies = self.data("relies", self.line("helper"))
        self.release("3.13.2", {"Python/ceval.c": "int x;\n"})
        self.assertProblem("3.13.2: Python/ceval.c helper is not there any more")

    def test_a_dash_allows_it_to_be_gone(self) -> None:
        self.relies = self.data("relies", self.line("helper") + "Python/ceval.c helper - because of this\n")
        self.release("3.13.2", {"Python/ceval.c": "int x;\n"})
        self.assertPasses()

    def test_an_instruction(self) -> None:
        self.relies = self.data("relies", self.line("inst:AAA", "Python/bytecodes.c"))
        self.assertPasses()

    def test_a_line_without_a_reason(self) -> None:
        self.relies = self.data("relies", "Python/ceval.c helper 00\n")
        self.assertProblem("relies:1: needs a path, a definition, a hash and the reason")

    def test_the_line_to_add_is_printed_once_for_each_text(self) -> None:
        self.release("3.13.2")
        self.release("3.13.3", {"Python/ceval.c": CEVAL.replace("if (a)", "if (!a)")})
        status, output = self.check("--relies-hash", "Python/ceval.c:helper")
        self.assertEqual(status, 0)
        self.assertEqual(len(output.splitlines()), 2, output)
        self.assertTrue(output.startswith(self.line("helper").rpartition(" because")[0]))

    def test_an_unknown_function_has_no_line(self) -> None:
        self.assertEqual(self.check("--relies-hash", "Python/ceval.c:nothing")[0], 1)


class SourceTests(unittest.TestCase):
    def test_prototypes_calls_and_comments_are_passed_over(self) -> None:
        found = csource.extract(CEVAL, "helper")
        self.assertTrue(found and found.startswith("helper(int a)\n{") and found.endswith("return 0;\n}"))

    def test_a_return_type_on_the_same_line(self) -> None:
        self.assertEqual(csource.extract("static inline int *f(void)\n{}\n", "f"), "f(void)\n{}")

    def test_the_name_must_match_as_a_whole(self) -> None:
        self.assertIsNone(csource.extract("int\nff(void)\n{}\n", "f"))

    def test_instructions_with_modifiers(self) -> None:
        text = "        tier1 inst(AB, (x --)) {\n}\n        override op(_AB, (--)) { y; }\n"
        self.assertEqual(csource.extract(text, "inst:AB"), "inst(AB, (x --)) {\n}")
        self.assertEqual(csource.extract(text, "op:_AB"), "op(_AB, (--)) { y; }")

    def test_structs_by_tag_and_by_typedef(self) -> None:
        text = "typedef struct tag { int a; } Name;"
        self.assertEqual(csource.extract(text, "struct:tag"), " int a; ")
        self.assertEqual(csource.extract(text, "struct:Name"), " int a; ")

    def test_unknown_kinds(self) -> None:
        with self.assertRaises(ValueError):
            csource.extract("", "macro:X")


class BinaryTests(unittest.TestCase):
    def setUp(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="test-check-overlay-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def test_member_names(self) -> None:
        for text, names in (("int a, *b; char c[3];", ["a", "b", "c"]),
                            ("struct { int x; } s; union { int y; } ;", ["s"]),
                            ("struct t *next; struct t { int z; } u;", ["next", "u"]),
                            ("void (*f)(int, int); unsigned bit : 1; T g;", ["f", "g"]),
                            ("int h __attribute__((aligned (8)));", ["h"])):
            with self.subTest(text):
                self.assertEqual(binary.member_names(text), names)

    def headers(self, folder: str, inside: str) -> Path:
        include = self.scratch / folder / "Include"
        include.mkdir(parents=True)
        (include / "Python.h").write_text(f"struct _ts {{ {inside} }}; typedef struct _ts PyThreadState;\n")
        return include

    @unittest.skipUnless(shutil.which("cc"), "needs a C compiler")
    def compare(self, inside: str, grows: dict[str, str | None]) -> list[str]:
        stock = self.headers("stock", "int one; int two;")
        self.headers("tree", inside)
        build = binary.Build(self.scratch / "tree", self.scratch / "none", "3.13.1")
        includes = '#include "Python.h"\n#include <stddef.h>\n#include <stdio.h>\n'
        with (mock.patch.object(binary, "STRUCTS", {"PyThreadState": "_ts"}),
              mock.patch.object(binary, "GROWS", grows), mock.patch.object(binary, "_INCLUDES", includes)):
            return binary.offset_problems(build, upstream.Release("3.13.1", stock.parent), self.scratch)[0]

    def test_the_same_layout(self) -> None:
        self.assertEqual(self.compare("int one; int two;", {}), [])

    def test_a_moved_member(self) -> None:
        self.assertEqual(self.compare("int one; int ours; int two;", {}),
                         ["PyThreadState does not have upstream's layout: size 8 -> 12, two 4 -> 8"])

    def test_a_struct_that_may_grow_at_its_end(self) -> None:
        self.assertEqual(self.compare("int one; int two; int ours;", {"PyThreadState": None}), [])

    def test_a_struct_that_may_grow_but_not_inside(self) -> None:
        self.assertEqual(self.compare("int one; int ours; int two;", {"PyThreadState": None}),
                         ["PyThreadState does not have upstream's layout: two 4 -> 8"])

    @unittest.skipUnless(shutil.which("cc") and shutil.which("nm"), "needs a C compiler and nm")
    def test_exported_symbols(self) -> None:
        source, library = self.scratch / "x.c", self.scratch / "libx.so"
        source.write_text("int PyList_New(void) { return hidden(); } int stray; int PyTasklet_New;\n"
                          "__attribute__((visibility(\"hidden\"))) int hidden(void) { return 1; }\n")
        subprocess.run(["cc", "-w", "-shared", "-fPIC", "-o", library, source], check=True)
        known = binary.identifiers([b"int PyList_New(void);"])
        self.assertEqual(binary.new_exports(binary.exported(library), known), ["PyTasklet_New", "stray"])

    def test_the_allowed_prefixes(self) -> None:
        prefixes = overlays.words(Path(binary.__file__).with_name("exports.txt"))
        self.assertTrue("PyTasklet_New".startswith(prefixes))
        self.assertFalse("tasklet_new".startswith(prefixes))

    def test_a_folder_that_is_no_build(self) -> None:
        with self.assertRaisesRegex(binary.BuildError, "is not a configured build tree"):
            binary.open_build(self.scratch, None)

    def fake_python(self, *answer: str) -> binary.Build:
        python = self.scratch / "python"
        python.write_text(textwrap.dedent(f"""\
            #!/bin/sh
            echo {' '.join(answer)}
            """))
        python.chmod(0o755)
        return binary.Build(self.scratch, python, "3.13.1")

    def test_what_the_interpreter_says(self) -> None:
        build = self.fake_python("3571", "cpython", "cpython-313d-x86_64-linux-gnu", "cpython-313")
        self.assertEqual(binary.identity_problems(build, 3571), [])
        self.assertEqual(len(binary.identity_problems(build, 3572)), 1)
        build = self.fake_python("3571", "stackless", "stackless-313", "stackless-313")
        self.assertEqual(len(binary.identity_problems(build, 3571)), 2)


if __name__ == "__main__":
    unittest.main()
