"""Compiling C for the tests of the C interface."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import unittest
from types import ModuleType

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 120


def include_flags() -> list[str]:
    """Where Python.h, pyconfig.h and stackless.h are: those of this interpreter."""
    directories = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"),
                   os.path.dirname(sysconfig.get_config_h_filename())]
    if not os.path.exists(os.path.join(directories[0], "stackless.h")):
        raise unittest.SkipTest("this interpreter's header files are not installed")
    return [f"-I{d}" for d in dict.fromkeys(directories)]


@functools.cache
def compiler(language: str) -> list[str]:
    """A command that compiles this language ("c" or "c++").  SkipTest where there is none."""
    names = {"c": [sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"],
             "c++": [sysconfig.get_config_var("CXX") or "", "c++", "g++", "clang++"]}
    for name in names[language]:
        command = shlex.split(name)
        if command and shutil.which(command[0]):
            return command
    raise unittest.SkipTest(f"no {language} compiler")


def run_compiler(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, encoding="utf-8",
                          errors="backslashreplace")
    if done.returncode:
        raise AssertionError(f"{shlex.join(command)}\n{done.stderr}")


@functools.cache
def build_module(source: str, language: str) -> str:
    """Compile the extension module of this file beside the tests; the path of the library."""
    standard = {"c": ["-std=c11"], "c++": ["-std=c++11"]}[language]
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory)
    name = os.path.splitext(source)[0]
    library = os.path.join(directory, name + sysconfig.get_config_var("EXT_SUFFIX"))
    run_compiler([*compiler(language), "-x", language, *standard, "-Wall", "-Wextra", "-Werror",
                  "-Wno-missing-field-initializers", "-Wno-cast-function-type",
                  "-shared", "-fPIC", "-g", "-O1", *include_flags(),
                  os.path.join(HERE, source), "-o", library])
    return library


@functools.cache
def load_module(source: str, language: str = "c") -> ModuleType:
    """The module, compiled and loaded once."""
    name = os.path.splitext(source)[0]
    spec = importlib.util.spec_from_file_location(name, build_module(source, language))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
