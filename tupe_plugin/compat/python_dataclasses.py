"""Python >= 3.11 and fairseq's configuration dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import Any

PACKAGES = ("fairseq", "fairseq_cli")


def make_config_dataclasses_hashable() -> None:
    """`ValueError: mutable default ... for field common is not allowed: use default_factory`.

    Where: fairseq/dataclass/configs.py:1105 and models/transformer/transformer_config.py:105, 111,
    191 use an instance of one dataclass as the default of another's field.
    When: Python >= 3.11, which calls a default mutable if its class has no hash.
    Fix: fairseq's own dataclasses keep the identity hash that every object has. Nothing else in
    the process is touched, and two equal configurations still compare equal.
    Upstream: https://github.com/facebookresearch/fairseq/issues/5012
    """
    if sys.version_info < (3, 11) or hasattr(dataclasses.dataclass, "mends_fairseq"):
        return
    original = dataclasses.dataclass

    def keep_identity_hash(cls: Any) -> Any:
        of_fairseq = cls.__module__.partition(".")[0] in PACKAGES
        if of_fairseq and cls.__dict__.get("__hash__", object) is None:
            cls.__hash__ = object.__hash__
        return cls

    @functools.wraps(original)
    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if cls is None:
            return lambda decorated: keep_identity_hash(original(**options)(decorated))
        return keep_identity_hash(original(cls, **options))

    dataclass.mends_fairseq = True
    dataclasses.dataclass = dataclass


def make_configurations_of_plug_ins_hashable(configs: Any) -> None:
    """The same `ValueError`, of a plug-in or a program that was written for Python <= 3.10.

    Where: a field of its configuration has an instance of another one as its default, as fairseq's
    own have: `common: Common = Common()`.
    When: Python >= 3.11, and both are below `FairseqDataclass`.
    Fix: these classes have the identity hash before they are made dataclasses, which keeps it.
    """
    if sys.version_info < (3, 11):
        return

    def __init_subclass__(cls: Any, **options: Any) -> None:
        super(configs.FairseqDataclass, cls).__init_subclass__(**options)
        if "__hash__" not in vars(cls):
            cls.__hash__ = object.__hash__

    configs.FairseqDataclass.__init_subclass__ = classmethod(__init_subclass__)
