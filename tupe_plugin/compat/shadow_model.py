"""`--store-ema`: the running average of the weights, over a restart."""

from __future__ import annotations

import functools
from typing import Any


def resume_shadow_model(trainer: Any) -> None:
    """`KeyError: 'model'`; and no message where a resumed job averages at other updates.

    Where: fairseq/trainer.py:649 wants to begin the average with a model that line 572 has thrown
    away; fairseq/models/ema/ema.py:98 counts updates since the start of the process.
    When: `--store-ema` with a checkpoint that has no average; `--ema-update-freq` above 1.
    Fix: without an average in the file it begins with the model just loaded; the count goes on
    from the checkpoint's number of updates.
    """
    cls = trainer.Trainer
    original = cls.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, *rest: Any, **named: Any) -> Any:
        ema = self.cfg.ema
        if not ema.store_ema:
            return original(self, filename, *rest, **named)
        ema.store_ema = False  # what follows takes the place of fairseq's own lines
        try:
            extra_state = original(self, filename, *rest, **named)
        finally:
            ema.store_ema = True
        if extra_state is None:
            return None
        self._build_ema()
        if "ema" in extra_state:
            self.ema.restore(extra_state["ema"])
            if ema.ema_fp32:
                self.ema.build_fp32_params(extra_state.get("ema_fp32_params"))
        else:
            trainer.logger.warning(
                "--store-ema: %s holds no average of the weights; it begins with its model",
                filename,
            )
        self.ema.update_freq_counter = self.get_num_updates() % ema.ema_update_freq
        return extra_state

    cls.load_checkpoint = load_checkpoint
