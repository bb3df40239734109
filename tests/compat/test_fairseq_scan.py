"""A configuration reaches no `eval` and its like, in all of the installed fairseq.

What was looked through stands here; something new turns these tests red.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import fairseq
import pytest

from tests.compat.fairseq_scan import scan
from tupe_plugin.checkpoint.buildable import REVIEWED
from tupe_plugin.compat.literal_evaluation import MODULES

# kind -> file -> why no text of a checkpoint becomes code there.
REGISTERS = "imports the files of its own folder, by their names"
ENCODERS = "fetches the vocabulary that a configuration names: data"
NOT_BUILT = "its models and tasks are not built because a file says so"
SAFE_BY_DEFAULT = "torch >= 2.6 reads tensors alone unless asked; that is required"
BY_USER = "what the user types"
ARRAYS = "numpy reads no pickles unless asked"
LOOKED_THROUGH: dict[str, dict[str, str]] = {
    "import": {
        **dict.fromkeys(
            (
                "fairseq/criterions/__init__.py",
                "fairseq/data/audio/feature_transforms/__init__.py",
                "fairseq/data/encoders/__init__.py",
                "fairseq/model_parallel/criterions/__init__.py",
                "fairseq/model_parallel/models/__init__.py",
                "fairseq/models/__init__.py",
                "fairseq/models/ema/__init__.py",
                "fairseq/models/huggingface/__init__.py",
                "fairseq/optim/__init__.py",
                "fairseq/optim/lr_scheduler/__init__.py",
                "fairseq/scoring/__init__.py",
                "fairseq/tasks/__init__.py",
            ),
            REGISTERS,
        ),
        "fairseq/optim/fused_adam.py": "one name, written there",
        "fairseq/utils.py": "--user-dir, of the command line or the caller; none of a file is read",
    },
    "shell": {
        "fairseq/data/fasta_dataset.py": "names a *.fasta file that lies in the folder of data",
        "fairseq/data/plasma_utils.py": "one program, with a number",
        "fairseq/distributed/utils.py": "SLURM's own variables, when a training starts",
    },
    "pickle": {"fairseq/distributed/utils.py": "between the workers of one job"},
    "hub": {
        "fairseq/models/speech_to_text/hub_interface.py": NOT_BUILT,
        "fairseq/models/text_to_speech/hub_interface.py": NOT_BUILT,
    },
    "yaml": {
        "fairseq/data/audio/data_cfg.py": NOT_BUILT,
        "fairseq/quantization_utils.py": f"--quantization-config-path: {BY_USER}",
    },
    "torch.load": {
        "fairseq/checkpoint_utils.py": "is tupe_plugin/checkpoint/read.py here",
        "fairseq/distributed/utils.py": "what worker 0 has sent",
        "fairseq/data/codedataset.py": SAFE_BY_DEFAULT,
        "fairseq/models/speech_to_text/xm_transformer.py": SAFE_BY_DEFAULT,
        "fairseq/models/text_to_speech/vocoder.py": SAFE_BY_DEFAULT,
        "fairseq/modules/quantization/pq/em.py": SAFE_BY_DEFAULT,
    },
    "np.load": dict.fromkeys(
        (
            "fairseq/data/audio/audio_utils.py",
            "fairseq/data/audio/feature_transforms/global_cmvn.py",
            "fairseq/data/codedataset.py",
            "fairseq/data/fasta_dataset.py",
            "fairseq/speech_generator.py",
            "fairseq/tasks/text_to_speech.py",
        ),
        ARRAYS,
    ),
    "download": {
        "fairseq/checkpoint_utils.py": f"a model_id of the Hugging Face hub: {BY_USER}",
        "fairseq/file_utils.py": "the function itself",
        **dict.fromkeys(
            (
                "fairseq/data/encoders/byte_bpe.py",
                "fairseq/data/encoders/fastbpe.py",
                "fairseq/data/encoders/gpt2_bpe.py",
                "fairseq/data/encoders/hf_bert_bpe.py",
                "fairseq/data/encoders/hf_byte_bpe.py",
                "fairseq/data/encoders/sentencepiece_bpe.py",
                "fairseq/data/encoders/subword_nmt_bpe.py",
            ),
            ENCODERS,
        ),
    },
}


def file_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    return scan("fairseq")


def test_nothing_new_runs_text_or_programs(found: dict[str, set[str]]) -> None:
    found = dict(found)
    assert found.pop("eval") == {file_of(module) for module in MODULES}
    assert {kind: set(files) for kind, files in LOOKED_THROUGH.items()} == found


def test_commands_evaluate_what_the_user_types_alone() -> None:
    """`--model-overrides`."""
    assert scan("fairseq_cli") == {"eval": {"fairseq_cli/eval_lm.py", "fairseq_cli/validate.py"}}


def test_what_a_file_may_name_does_no_more_than_read_values(found: dict[str, set[str]]) -> None:
    for module in REVIEWED:
        assert importlib.util.find_spec(module) is not None
        kinds = {kind for kind, files in found.items() if file_of(module) in files}
        assert kinds <= {"eval"}, module


def test_no_setting_names_a_file_that_a_constructor_reads() -> None:
    """But those that `buildable.py` refuses; what a task reads lies in its folder of data."""
    settings = r"(?:(?:args|cfg)(?:\.\w+)*\.|getattr\(args, \")"
    named = re.compile(rf"{settings}(\w*(?:path|file|dir|codes|_from|yaml))\b")
    reading = re.compile(
        r"\b(?:open|parse_embedding|\w*PathManager\.\w+|cached_path|load_pretrained_component_\w+)\(.*"
    )
    folder = Path(fairseq.__file__).parent
    files = {folder.parent / file_of(module) for module in REVIEWED}
    files |= {*folder.glob("models/transformer/*.py"), *folder.glob("models/roberta/*.py")}
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert {name for text in texts for name in named.findall(text)} == {
        *("encoder_embed_path", "decoder_embed_path", "embed_path"),  # forgotten, as the next two
        *("load_pretrained_encoder_from", "load_pretrained_decoder_from"),
        "config_yaml",  # in the folder of data, or refused
        "input_from",  # no file: a layer
        "plasma_path",  # of a program that keeps arrays in memory; with a set of data
        "w2v_path",  # refused, but where the settings that it would give are there
        "label_dir",  # its dict.*.txt, as those in the folder of data
    }
    assert {call for text in texts for call in reading.findall(text)} == {
        *("parse_embedding(path)", "parse_embedding(embed_path)"),  # forgotten, as the next three
        *(f"parse_embedding(args.{side}_embed_path)" for side in ("encoder", "decoder")),
        "load_pretrained_component_from_model(",
        "open(speaker_set_path) as f:",  # in the folder of data, by its config.yaml
        'open(save_predictions, "w")',  # refused
        *("open(label_path) as h:", 'open(label_path, "r") as f:'),  # in the folder of data
    }
