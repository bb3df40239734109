"""Start-up hook: lets `fairseq-train` and its siblings start on today's Python.

fairseq 0.12.2 fails while it is being imported (see `tupe_plugin/compat/`), before it reads
`--user-dir`, so the patch must be in place earlier. This file is installed beside the package as
`_tupe_plugin_startup.py`, and a `.pth` file imports it at every start of Python. It therefore only
leaves a watcher behind; nothing else happens until fairseq is imported.

The package `tupe_plugin` itself is not imported here: fairseq imports it by the path that the user
gives as `--user-dir`, and that may be another copy.
"""

import sys


class FairseqWatcher:
    """Loads the compat layer when fairseq is imported; to look for fairseq loads nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != "fairseq" or mending_hook() is not None:
            return None  # in the second case `import tupe_plugin` came first
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = ActivatingLoader(spec.loader, self)  # type: ignore[assignment]
                    return spec
        return None


class ActivatingLoader:
    """fairseq's own loader, and before it executes fairseq the compat layer."""

    def __init__(self, loader, watcher):
        self._loader = loader
        self._watcher = watcher

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        hook = mending_hook() or self._activate()
        if hook is None:
            self._loader.exec_module(module)
        else:
            hook.execute(module, self._loader)

    def _activate(self):
        """Give the watcher's place to the hook of the compat layer, where there is one."""
        compat = load_compat()
        if compat is None:
            return None
        position = sys.meta_path.index(self._watcher)
        del sys.meta_path[position]
        return compat.activate(position)

    def __getattr__(self, name):
        return getattr(self._loader, name)


def mending_hook():
    """The import hook that mends fairseq, of whichever copy of the package, or None."""
    for finder in sys.meta_path:
        if getattr(finder, "mends_fairseq", False):
            return finder
    return None


def load_compat():
    """Import `tupe_plugin/compat` as a package of its own, or return None where it is gone."""
    import importlib.util
    import os

    package = importlib.util.find_spec("tupe_plugin")
    if package is None or not package.submodule_search_locations:
        return None
    folder = os.path.join(next(iter(package.submodule_search_locations)), "compat")
    if not os.path.isfile(os.path.join(folder, "__init__.py")):
        return None
    name = "_tupe_plugin_compat"
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sys.meta_path.insert(0, FairseqWatcher())
