"""Greenlets: coroutines that are switched by hand.

A drop-in replacement of the package of that name (its version 3.5.6), built in and made
of the same parts as tasklets:

    from greenlet import greenlet, getcurrent

    def double():
        number = None
        while True:
            number = main.switch(number and 2 * number)

    main = getcurrent()
    doubler = greenlet(double)
    doubler.switch()
    print(doubler.switch(21))
"""

import sys as _sys

import _greenlet

_greenlet.__name__ = __name__ + "._greenlet"
_sys.modules[_greenlet.__name__] = _greenlet


def _load_file():
    """Load _greenlet.so, if there is one: it is empty, but tools look for it (memray)."""
    import _imp
    from _frozen_importlib_external import ExtensionFileLoader, PathFinder
    spec = PathFinder.find_spec("_greenlet")
    if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
        try:
            _imp.create_dynamic(spec)
        except ImportError:
            pass                       # it is for another interpreter


_load_file()

from _greenlet import (
    _C_API,
    CLOCKS_PER_SEC,
    GREENLET_USE_CONTEXT_VARS,
    GREENLET_USE_GC,
    GREENLET_USE_TRACING,
    GreenletExit,
    enable_optional_cleanup,
    error,
    get_clocks_used_doing_optional_cleanup,
    getcurrent,
    greenlet,
    gettrace,
    settrace,
)
from greenlet._unswitchable import UnswitchableGreenlet as _UnswitchableGreenlet

_greenlet.UnswitchableGreenlet = _UnswitchableGreenlet

__version__ = "3.5.6"

__all__ = [
    "__version__", "_C_API", "GreenletExit", "error", "getcurrent", "greenlet",
    "gettrace", "settrace",
]
