"""Start-up hook: lets `fairseq-train` and its siblings start on today's Python.

fairseq 0.12.2 fails while it is being imported (see `tupe_plugin/compat/`), before it reads
`--user-dir`, so the cure must be in place earlier. This file is installed beside the package as
`_tupe_plugin_startup.py`, and a `.pth` file imports it at every start of Python. It therefore only
leaves a watcher behind; nothing else happens until fairseq is imported.

The package `tupe_plugin` itself is not imported here: fairseq imports it by the path that the user
gives as `--user-dir`, and that may be another copy.
"""

import sys


class FairseqWatcher:
    """Finds no module; loads the compat layer when fairseq is first looked for."""

    def find_spec(self, name, path=None, target=None):
        if name != "fairseq":
            return None
        if any(getattr(finder, "mends_fairseq", False) for finder in sys.meta_path):
            return None  # `import tupe_plugin` came first
        compat = load_compat()
        if compat is None:
            return None
        position = sys.meta_path.index(self)
        del sys.meta_path[position]
        return compat.activate(position).find_spec(name, path, target)


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
