"""Lets unmodified fairseq 0.12.2 run on Python 3.10 to 3.13 with current torch, numpy and hydra.

One function mends one upstream defect. Its docstring names the defect by its error message, the
line, the condition, the fix, and the upstream issue where one was found. Each runs when the module
that it mends has just been imported, so that it does not matter who imports fairseq, or when:

    start of Python --> startup.py (through a .pth file) --> first `import fairseq` --> activate()
    `tupe_plugin.use_with_fairseq()`, `python -m tupe_plugin` ------------------------> activate()

A `tupe_plugin` that a program has imported before fairseq is registered at the same time.

What fairseq has compiled and a pure build of it lacks (`READTHEDOCS=1 pip install ...`) stands here
in Python and numpy: see `compiled_extensions.py`. A compiled module comes first.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from .arguments_of_tasks import let_mbart_find_its_options
from .before_training import (
    check_the_files_of_the_data,
    check_the_job_before_its_first_update,
    leave_other_trainers_alone,
)
from .checkpoint_errors import refuse_unusable_files, say_why_a_checkpoint_does_not_fit
from .checkpoint_loading import (
    complete_short_configurations,
    load_checkpoint_files_safely,
    load_own_broadcast,
    refuse_unusable_settings,
)
from .checkpoint_models import build_from_files_by_an_allow_list, name_an_unknown_criterion
from .checkpoint_writing import copy_checkpoints_whole, write_checkpoints_whole
from .command_line import (
    ask_for_the_task_and_the_checkpoint,
    keep_bf16_off_tpu,
    name_the_option_that_a_task_wants_of_its_criterion,
    refuse_impossible_options_before_the_job,
    show_options_of_chosen_parts,
)
from .compiled_extensions import StandInFinder, load_a_library_in_python
from .cpu_training import (
    autocast_on_the_device_in_use,
    flatten_fp16_parameters_on_cpu,
    scale_gradients_on_the_device_in_use,
    survive_overflow_on_cpu,
    wrap_cpu_models_without_device_ids,
)
from .denoising_options import let_denoising_share_options_with_its_model
from .early_stopping import keep_counting_patience
from .encoder_fast_path import (
    keep_columns_of_padding_alone,
    keep_the_fast_path_to_batch_first_encoders,
    open_the_fast_path_of_batch_first_encoders,
    read_the_version_of_every_torch,
    say_what_kind_of_mask_it_is,
)
from .finished_job import make_no_update_after_the_last
from .float32_weights import keep_float32_weights
from .hub_archives import (
    name_what_a_download_lacks,
    refuse_units_that_are_not_those_of_the_dictionary,
    unpack_archives_in_their_place,
)
from .huffman_bits import restore_the_last_index_of_bits
from .hydra_configuration import keep_one_limit_of_positions
from .import_hook import ImportHook
from .interpreter_exit import stop_prefetching_at_exit
from .kept_checkpoints import keep_as_many_best_checkpoints_as_asked
from .library_warnings import (
    silence_hydra_about_fairseq,
    silence_pinned_memory_on_cpu,
    silence_torch_about_fairseq,
)
from .literal_evaluation import MODULES as MODULES_THAT_EVALUATE
from .literal_evaluation import evaluate_values_only
from .log_file import open_log_file_once
from .loss_scale import (
    keep_amp_loss_scale,
    keep_amp_retries,
    keep_loss_scale_counters,
    stop_at_non_finite_gradients_without_a_scale,
    unscale_amp_gradients_once,
)
from .missing_dictionary import name_a_damaged_dictionary, name_the_folder_that_has_the_dictionary
from .nan_gradients import look_at_the_gradients_of_every_output
from .numpy_names import MODULES as MODULES_WITH_DROPPED_NUMPY_NAMES
from .numpy_names import restore_dropped_numpy_names
from .option_bounds import read_lists_of_numbers_as_they_are_written
from .padding_share import log_the_share_of_padding
from .python_dataclasses import (
    make_config_dataclasses_hashable,
    make_configurations_of_plug_ins_hashable,
)
from .refused_job import (
    bring_home_what_workers_refuse,
    end_refused_commands_in_one_line,
    end_refused_jobs_in_one_line,
)
from .reproducible_data import seed_numpy_one_thread_at_a_time, start_loaders_anew_in_each_epoch
from .restarted_job import go_on_from_the_last_checkpoint
from .resumed_epoch import (
    go_on_with_the_sentences_not_seen,
    group_all_batches_of_a_resumed_epoch,
    load_the_data_of_the_next_epoch,
    remember_how_batches_are_made,
)
from .save_dir_lock import keep_second_jobs_out, name_an_unusable_save_dir
from .score_program import hand_over_lines_and_not_files, take_symbols_for_a_configuration
from .sentence_length import (
    say_over_how_many_sentences_metrics_are,
    say_what_to_do_with_long_sentences,
)
from .sentence_prediction_setup import name_what_sentence_prediction_lacks
from .shadow_model import resume_shadow_model
from .task_criterion import (
    take_the_criterion_of_the_task,
    take_the_criterion_of_the_task_in_hydra,
)
from .trainer_parts import (
    hand_training_data_to_schedulers,
    keep_states_of_criterions,
    let_optimizers_prepare_the_model,
    tell_criterions_how_far_training_is,
    tell_optimizers_their_model,
)
from .uneven_workers import count_every_batch_of_the_last_update
from .user_dir import import_each_user_dir_once
from .whole_word_masks import mask_whole_words_of_every_kind

# Where two patches wrap one function, the later one is around the earlier one and runs first. Where
# that matters, a comment says so; other patches of one function do not depend on each other.
PATCHES = (
    ("fairseq.checkpoint_utils", load_checkpoint_files_safely),
    ("fairseq.checkpoint_utils", complete_short_configurations),
    ("fairseq.checkpoint_utils", refuse_unusable_settings),
    ("fairseq.checkpoint_utils", build_from_files_by_an_allow_list),
    ("fairseq.checkpoint_utils", go_on_from_the_last_checkpoint),
    ("fairseq.checkpoint_utils", keep_as_many_best_checkpoints_as_asked),
    ("fairseq.checkpoint_utils", load_the_data_of_the_next_epoch),  # around the one that loads
    ("fairseq.checkpoint_utils", check_the_job_before_its_first_update),
    ("fairseq.checkpoint_utils", name_an_unusable_save_dir),
    ("fairseq.checkpoint_utils", write_checkpoints_whole),
    ("fairseq.checkpoint_utils", make_no_update_after_the_last),  # after all that look at the data
    ("fairseq.checkpoint_utils", leave_other_trainers_alone),  # around all that look at the job
    ("fairseq.criterions", name_an_unknown_criterion),
    ("fairseq.data.data_utils", check_the_files_of_the_data),
    ("fairseq.data.data_utils", seed_numpy_one_thread_at_a_time),
    ("fairseq.data.dictionary", name_a_damaged_dictionary),
    ("fairseq.data.dictionary", name_the_folder_that_has_the_dictionary),
    ("fairseq.data.huffman.huffman_coder", restore_the_last_index_of_bits),
    ("fairseq.data.iterators", start_loaders_anew_in_each_epoch),
    ("fairseq.data.iterators", go_on_with_the_sentences_not_seen),
    ("fairseq.data.iterators", group_all_batches_of_a_resumed_epoch),
    ("fairseq.dataclass.configs", make_configurations_of_plug_ins_hashable),
    ("fairseq.dataclass.initialize", keep_one_limit_of_positions),
    ("fairseq.dataclass.initialize", take_the_criterion_of_the_task_in_hydra),
    ("fairseq.dataclass.utils", silence_hydra_about_fairseq),
    ("fairseq.dataclass.utils", name_the_option_that_a_task_wants_of_its_criterion),
    ("fairseq.data.iterators", stop_prefetching_at_exit),
    ("fairseq.data.iterators", silence_pinned_memory_on_cpu),
    ("fairseq.distributed.utils", load_own_broadcast),
    ("fairseq.distributed.utils", refuse_impossible_options_before_the_job),
    ("fairseq.distributed.utils", keep_second_jobs_out),  # locks in each worker, whenever it wraps
    ("fairseq.distributed.utils", bring_home_what_workers_refuse),
    ("fairseq.distributed.utils", end_refused_jobs_in_one_line),  # around all that refuse a job
    ("fairseq.file_io", copy_checkpoints_whole),
    ("fairseq.file_utils", name_what_a_download_lacks),
    ("fairseq.file_utils", unpack_archives_in_their_place),
    ("fairseq.logging.progress_bar", open_log_file_once),
    ("fairseq.models.distributed_fairseq_model", wrap_cpu_models_without_device_ids),
    ("fairseq.models.roberta.hub_interface", refuse_units_that_are_not_those_of_the_dictionary),
    ("fairseq.models.transformer.transformer_encoder", open_the_fast_path_of_batch_first_encoders),
    ("fairseq.models.transformer.transformer_encoder", keep_columns_of_padding_alone),
    ("fairseq.models.transformer.transformer_encoder", read_the_version_of_every_torch),
    ("fairseq.modules.multihead_attention", silence_torch_about_fairseq),
    ("fairseq.modules.transformer_layer", say_what_kind_of_mask_it_is),
    ("fairseq.modules.transformer_layer", keep_the_fast_path_to_batch_first_encoders),
    ("fairseq.modules.transformer_layer", read_the_version_of_every_torch),
    ("fairseq.nan_detector", look_at_the_gradients_of_every_output),
    ("fairseq.optim.amp_optimizer", scale_gradients_on_the_device_in_use),
    ("fairseq.optim.amp_optimizer", unscale_amp_gradients_once),
    ("fairseq.optim.amp_optimizer", keep_amp_loss_scale),
    ("fairseq.optim.amp_optimizer", stop_at_non_finite_gradients_without_a_scale),
    ("fairseq.optim.fp16_optimizer", flatten_fp16_parameters_on_cpu),
    ("fairseq.optim.fp16_optimizer", keep_loss_scale_counters),
    ("fairseq.options", read_lists_of_numbers_as_they_are_written),
    ("fairseq.options", ask_for_the_task_and_the_checkpoint),
    ("fairseq.options", end_refused_commands_in_one_line),
    ("fairseq.options", keep_bf16_off_tpu),
    ("fairseq.options", show_options_of_chosen_parts),
    ("fairseq.options", take_the_criterion_of_the_task),
    ("fairseq.scoring.bleu", load_a_library_in_python),
    ("fairseq.scoring.bleu", take_symbols_for_a_configuration),
    ("fairseq.scoring.bleu", hand_over_lines_and_not_files),
    ("fairseq.tasks.denoising", let_denoising_share_options_with_its_model),
    ("fairseq.tasks.fairseq_task", remember_how_batches_are_made),
    ("fairseq.tasks.fairseq_task", autocast_on_the_device_in_use),
    ("fairseq.tasks.fairseq_task", say_what_to_do_with_long_sentences),
    ("fairseq.tasks.masked_lm", mask_whole_words_of_every_kind),
    ("fairseq.tasks.masked_lm", log_the_share_of_padding),
    ("fairseq.tasks.sentence_prediction", log_the_share_of_padding),
    ("fairseq.tasks.sentence_prediction", name_what_sentence_prediction_lacks),
    ("fairseq.tasks.translation_from_pretrained_bart", let_mbart_find_its_options),
    ("fairseq.trainer", say_over_how_many_sentences_metrics_are),
    ("fairseq.trainer", keep_amp_retries),
    ("fairseq.trainer", keep_float32_weights),
    ("fairseq.trainer", resume_shadow_model),
    ("fairseq.trainer", keep_counting_patience),
    ("fairseq.trainer", say_why_a_checkpoint_does_not_fit),  # around all that read its state
    ("fairseq.trainer", refuse_unusable_files),  # before anything is read
    ("fairseq.trainer", survive_overflow_on_cpu),
    ("fairseq.trainer", tell_optimizers_their_model),
    ("fairseq.trainer", let_optimizers_prepare_the_model),
    ("fairseq.trainer", keep_states_of_criterions),
    ("fairseq.trainer", tell_criterions_how_far_training_is),
    ("fairseq.trainer", hand_training_data_to_schedulers),
    ("fairseq.trainer", count_every_batch_of_the_last_update),
    ("fairseq.utils", import_each_user_dir_once),
    ("fairseq_cli.score", hand_over_lines_and_not_files),
    *((name, evaluate_values_only) for name in MODULES_THAT_EVALUATE),
    *((name, restore_dropped_numpy_names) for name in MODULES_WITH_DROPPED_NUMPY_NAMES),
)


def activate(position: int = 0) -> ImportHook:
    """Put every patch in place, once for a process, and return the hook that holds them.

    `position` is the hook's place in `sys.meta_path`.
    """
    for finder in sys.meta_path:
        if getattr(finder, "mends_fairseq", False):
            return finder  # type: ignore[return-value]
    hook = ImportHook()
    sys.meta_path.insert(position, hook)
    sys.meta_path.append(StandInFinder())
    hook.before("fairseq", make_config_dataclasses_hashable)
    for name, patch in PATCHES:
        hook.after(name, patch)
    hook.after("fairseq", _register_plugin)
    return hook


def _register_plugin(fairseq: ModuleType) -> None:
    """Register the `tupe_plugin` that is imported, whichever copy of it; none is imported here."""
    if "tupe_plugin" in sys.modules:
        importlib.import_module("tupe_plugin.registration").register(fairseq)
