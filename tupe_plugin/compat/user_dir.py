"""`--user-dir`: one directory is one module, however its path is spelled."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys
from typing import Any

PLUGIN = "tupe_plugin"


def import_each_user_dir_once(utils: Any) -> None:
    """`ImportError: Failed to import --user-dir ... is not globally unique`.

    Where: fairseq/utils.py:464 compares paths as text.
    When: the same directory is named twice and differently (relative and absolute, through a
    symbolic link, with a trailing slash), or was imported by Python beforehand; in the latter case
    its `models/` and `tasks/` are left out besides.
    Fix: the same real directory is the same module. A different directory of the same name is
    still an error, which names both. And where no such path exists, the name of an installed
    package will do: `--user-dir tupe_plugin` outside a checkout.
    Upstream: https://github.com/facebookresearch/fairseq/pull/2815 made names unique
    """
    original = utils.import_user_module

    @functools.wraps(original)
    def import_user_module(args: Any) -> None:
        given = getattr(args, "user_dir", None)
        if given is None:
            return
        directory = locate(given)
        if directory is None:  # fairseq looks in a few more places, and has the error message
            original(args)
            return
        loaded = sys.modules.get(os.path.basename(directory))
        if loaded is None:
            original(argparse.Namespace(user_dir=directory))
            return
        folders = [os.path.realpath(path) for path in getattr(loaded, "__path__", ())]
        if os.path.realpath(directory) not in folders:
            place = ", ".join(folders) or getattr(loaded, "__file__", None) or "no file"
            raise ImportError(
                f"--user-dir {directory}: a module named {loaded.__name__} is already imported "
                f"from {place}; two copies cannot be used in one job, give the path of that one"
            )
        _import_tasks_and_models(directory, loaded.__name__)

    utils.import_user_module = import_user_module


def locate(given: str) -> str | None:
    """The absolute directory that `--user-dir given` means, or None if there is none.

    Links are followed for this plug-in only: it is always imported as `tupe_plugin`, and others may
    rely on the name of their link.
    """
    directory = os.path.abspath(given)
    if not os.path.isdir(directory):
        installed = importlib.util.find_spec(given) if given.isidentifier() else None
        if installed is None or not installed.submodule_search_locations:
            return None
        directory = os.path.abspath(next(iter(installed.submodule_search_locations)))
    real = os.path.realpath(directory)
    return real if os.path.basename(real) == PLUGIN else directory


def _import_tasks_and_models(directory: str, name: str) -> None:
    """What fairseq does once it has imported a user directory; doing it twice changes nothing."""
    from fairseq.models import import_models
    from fairseq.tasks import import_tasks

    for folder, import_folder in (("tasks", import_tasks), ("models", import_models)):
        path = os.path.join(directory, folder)
        if os.path.isdir(path):
            import_folder(path, f"{name}.{folder}")
