"""What fairseq's trainer keeps from its parts, and they need."""

from __future__ import annotations

import functools
from typing import Any


def tell_optimizers_their_model(trainer: Any) -> None:
    """No message: an optimizer cannot know which parameter is which.

    Where: fairseq/trainer.py:290: it is handed a list of parameters without names, or of their
    copies in float32.
    When: a parameter's learning rate depends on its place in the model, as with layer decay.
    Fix: while an optimizer is built, `fairseq.optim.model_in_training` is the model, whose trained
    parameters are in the order of that list.
    """
    original = trainer.Trainer._build_optimizer

    @functools.wraps(original)
    def build_optimizer(self: Any) -> None:
        trainer.optim.model_in_training = self.get_model()
        try:
            original(self)
        finally:
            del trainer.optim.model_in_training

    trainer.Trainer._build_optimizer = build_optimizer


def let_optimizers_prepare_the_model(trainer: Any) -> None:
    """No message: an optimizer cannot say that parameters are frozen.

    Where: fairseq/trainer.py:42 wraps the model for several workers before it builds the optimizer,
    and counts on gradients of all that trains by then.
    When: what trains is an option of the optimizer, as `--mfac-rest frozen` is.
    Fix: an optimizer with a method `prepare_model(cfg, model)` gets the model before the trainer.
    """
    original = trainer.Trainer.__init__

    @functools.wraps(original)
    def __init__(self: Any, cfg: Any, task: Any, model: Any, *rest: Any, **named: Any) -> None:
        chosen = trainer.optim.OPTIMIZER_REGISTRY.get(getattr(cfg.optimizer, "_name", None))
        if hasattr(chosen, "prepare_model"):
            chosen.prepare_model(cfg.optimizer, model)
        original(self, cfg, task, model, *rest, **named)

    trainer.Trainer.__init__ = __init__


def hand_training_data_to_schedulers(trainer: Any) -> None:
    """No message: a scheduler cannot know how many updates there will be.

    Where: fairseq/trainer.py:648 makes the iterator over the training data, and keeps it.
    When: the length of the warm-up or of the decay is a share of the whole run.
    Fix: a scheduler with a method `set_train_iterator(iterator)` is given each one that is made.
    """
    original = trainer.Trainer.get_train_iterator

    @functools.wraps(original)
    def get_train_iterator(self: Any, *args: Any, **named: Any) -> Any:
        from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY

        iterator = original(self, *args, **named)
        # By the class: a trainer builds its scheduler, and its optimizer, on the first access.
        scheduler = LR_SCHEDULER_REGISTRY.get(getattr(self.cfg.lr_scheduler, "_name", None))
        if hasattr(scheduler, "set_train_iterator"):
            self.lr_scheduler.set_train_iterator(iterator)
        return iterator

    trainer.Trainer.get_train_iterator = get_train_iterator


def keep_states_of_criterions(trainer: Any) -> None:
    """No message: what a criterion has learned of a run is gone when the run is resumed.

    Where: fairseq/trainer.py:400 saves the state of a criterion with parameters only.
    When: a criterion has anything else to remember, as BitFit's has the biases of the start.
    Fix: a criterion with a method `kept_state()` finds what that gave in `begin(model, state)`,
    which is called once before training; `state` is None where the run begins.
    """
    state_dict, load_checkpoint = trainer.Trainer.state_dict, trainer.Trainer.load_checkpoint

    @functools.wraps(state_dict)
    def state_dict_with_criterion(self: Any) -> dict[str, Any]:
        state: dict[str, Any] = state_dict(self)
        criterion = self.get_criterion()
        if hasattr(criterion, "kept_state"):
            state["extra_state"].update(criterion.kept_state())
        return state

    @functools.wraps(load_checkpoint)
    def load_checkpoint_with_criterion(
        self: Any, filename: str, reset_optimizer: bool = False, *rest: Any, **named: Any
    ) -> Any:
        extra_state = load_checkpoint(self, filename, reset_optimizer, *rest, **named)
        criterion = self.get_criterion()
        if hasattr(criterion, "begin"):
            resumed = extra_state is not None and not reset_optimizer
            line = criterion.begin(self.get_model(), extra_state if resumed else None)
            if line and self.is_data_parallel_master:
                trainer.logger.info(line)
        return extra_state

    trainer.Trainer.state_dict = state_dict_with_criterion
    trainer.Trainer.load_checkpoint = load_checkpoint_with_criterion


def tell_criterions_how_far_training_is(trainer: Any) -> None:
    """No message: a criterion cannot know which update its batch is for.

    Where: fairseq/trainer.py:780 begins an update; only the model is told the number.
    When: a part of the loss grows during the warm-up, as adversarial noise does.
    Fix: a criterion with a method `before_update(updates, scheduler)` is told the number of updates
    done, and the scheduler of the learning rate.
    """
    original = trainer.Trainer.train_step

    @functools.wraps(original)
    def train_step(self: Any, *args: Any, **named: Any) -> Any:
        criterion = self.get_criterion()
        if hasattr(criterion, "before_update"):
            criterion.before_update(self.get_num_updates(), self.lr_scheduler)
        return original(self, *args, **named)

    trainer.Trainer.train_step = train_step
