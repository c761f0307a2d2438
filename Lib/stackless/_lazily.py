"""Registers how to pickle tasklets, generators, functions and so on when the program imports
`pickle` or `copy`, not before: `import stackless` is to be quick."""

import sys


class _Loader:
    """Loads a module, and then registers."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)            # get_code(), is_package() ...

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        if _Finder in sys.meta_path:
            sys.meta_path.remove(_Finder)
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        import stackless._wrap


class _Finder:
    """The first of sys.meta_path, until one of these modules is imported."""
    names = ("pickle", "copy")

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.names or cls not in sys.meta_path:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not cls]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


def register() -> None:
    if any(name in sys.modules for name in _Finder.names):
        import stackless._wrap
    else:
        sys.meta_path.insert(0, _Finder)
