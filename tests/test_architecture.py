"""What keeps the project's shape: import directions, names, README table, flags."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tupe_plugin.data.toml_file import read_toml

PACKAGE = ROOT / "tupe_plugin"
ADAPTER_FOLDERS = ("criterions", "models", "optim", "tasks")
OUR_PACKAGES = ("tupe_plugin", "tests", "benchmarks", "examples")
HEAP_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools"}

# In core, these import triton, and others import these inside of functions alone.
TRITON_FILES = {"triton_attention_kernels.py", "triton_attention_tiles.py"}

# An adapter's equation is in the core file of the same stem, but for these, and why.
OTHER_STEMS = {
    "models/tupe.py": "core/encoder.py",  # the model is named by the paper, its part by what it is
    "models/roberta.py": "core/bitfit.py",  # the model is fairseq's
    "optim/adam.py": "core/layer_decay.py",  # Adam is fairseq's; what is added is the decay
    "optim/lr_scheduler/warmup_ratio.py": "core/learning_rate.py",  # one schedule, several flags
    "criterions/sentence_prediction.py": None,  # counts and correlations: there is no method
}

# Modules that are not called like the package that has them.
PACKAGES = {"fairseq_cli": "fairseq", "hydra": "hydra-core", "sklearn": "scikit-learn"}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, *, only_at_the_top: bool = False) -> Iterator[str]:
    """Absolute names of what a file imports; `from a import b` gives a.b, which may be a name."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in parsed(path).body if only_at_the_top else ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of the project's files")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("path", python_files(PACKAGE / "core"), ids=relative)
def test_core_imports_torch_and_the_standard_library(path: Path) -> None:
    allowed = {"torch", *sys.stdlib_module_names}
    if path.name in TRITON_FILES:
        allowed.add("triton")
    for name in imported_modules(path):
        assert name.startswith("tupe_plugin.core.") or name.split(".")[0] in allowed, name


def test_triton_is_imported_when_it_is_asked_for() -> None:
    files = tuple(f"tupe_plugin.core.{Path(name).stem}." for name in TRITON_FILES)
    for path in (path for path in python_files(PACKAGE) if path.name not in TRITON_FILES):
        names = imported_modules(path, only_at_the_top=True)
        assert [name for name in names if name.startswith(files)] == [], relative(path)


def test_the_start_up_hook_reads_no_library() -> None:
    """Every Python that starts imports it, and one without torch is told so by our programs."""
    seen, left = set(), [PACKAGE / "compat" / "__init__.py"]
    while left:
        seen.add(path := left.pop())
        for name in imported_modules(path, only_at_the_top=True):
            package, _, inner = name.partition(".")
            if package == "tupe_plugin":
                other = PACKAGE / "compat" / f"{inner.split('.')[1]}.py"
                left += {other} - seen
            else:
                assert package in sys.stdlib_module_names, f"{relative(path)} imports {name}"
    assert len(seen) > 20


def test_fairseqs_trainer_is_patched_in_compat_and_nowhere_else() -> None:
    for path in python_files(PACKAGE):
        if path.is_relative_to(PACKAGE / "compat"):
            continue
        assigned = [
            target
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Attribute) and ast.unparse(target.value).endswith("Trainer")
        ]
        assert not assigned, f"{relative(path)} patches Trainer"


def test_core_files_do_not_import_each_other_in_a_circle() -> None:
    files = {module_name(path): path for path in python_files(PACKAGE / "core")}
    imports = {
        name: {part for i in imported_modules(path) for part in (i, i.rpartition(".")[0])}
        & files.keys()
        for name, path in files.items()
    }
    while imports:
        free = {name for name, needed in imports.items() if not needed & imports.keys() - {name}}
        assert free, f"these import each other: {sorted(imports)}"
        imports = {name: needed for name, needed in imports.items() if name not in free}


def adapter_files() -> list[Path]:
    return [path for folder in ADAPTER_FOLDERS for path in python_files(PACKAGE / folder)]


def registers(path: Path) -> bool:
    """Whether an adapter gives fairseq something to choose; the others serve those beside them."""
    return any(
        name.startswith("fairseq.") and ".register_" in name for name in imported_modules(path)
    )


@pytest.mark.parametrize("path", adapter_files(), ids=relative)
def test_adapters_import_core_and_never_each_other(path: Path) -> None:
    beside = sorted(path.parent.glob("*.py"))
    allowed = (
        *("tupe_plugin.core.", "tupe_plugin.registration.", "tupe_plugin.whole_set_metrics."),
        *("tupe_plugin.checkpoint.formats.", "tupe_plugin.checkpoint.settings."),
        "tupe_plugin.api.",  # what fairseq calls a model's `from_pretrained`
        *(f"{module_name(other)}." for other in beside if not registers(other)),
    )
    ours = [name for name in imported_modules(path) if name.split(".")[0] == "tupe_plugin"]
    assert [name for name in ours if not name.startswith(allowed)] == []


@pytest.mark.parametrize("path", python_files(PACKAGE / "compat"), ids=relative)
def test_compat_stands_alone(path: Path) -> None:
    """The start-up hook imports it under another name, without the rest of the package."""
    ours = [name for name in imported_modules(path) if name.split(".")[0] == "tupe_plugin"]
    assert [name for name in ours if not name.startswith("tupe_plugin.compat.")] == []
    asked_for = re.findall(r"\b(checkpoint|core)_module\(\"(\w+)\"\)", path.read_text("utf-8"))
    for folder, stem in asked_for:
        assert (PACKAGE / folder / f"{stem}.py").is_file(), f"there is no {folder}/{stem}.py"


@pytest.mark.parametrize("path", python_files(PACKAGE / "checkpoint"), ids=relative)
def test_checkpoint_knows_of_no_command_and_no_patch(path: Path) -> None:
    ours = [name for name in imported_modules(path) if name.split(".")[0] == "tupe_plugin"]
    # `data/` names the files that say how a model's text is cut.
    allowed = ("tupe_plugin.checkpoint.", "tupe_plugin.core.", "tupe_plugin.data.")
    assert [name for name in ours if not name.startswith(allowed)] == []


@pytest.mark.parametrize("room", ["checkpoint", "checkpoint/formats"])
def test_a_folders_own_list_of_files_is_whole(room: str) -> None:
    listed = set(re.findall(r"\w+\.py", (PACKAGE / room / "__init__.py").read_text("utf-8")))
    assert listed == {path.name for path in (PACKAGE / room).glob("*.py")} - {"__init__.py"}


@pytest.mark.parametrize("path", python_files(PACKAGE / "data"), ids=relative)
def test_data_knows_of_no_model(path: Path) -> None:
    ours = [name for name in imported_modules(path) if name.split(".")[0] in OUR_PACKAGES]
    allowed = ("tupe_plugin.data.", "tupe_plugin.core.")
    assert [name for name in ours if not name.startswith(allowed)] == []


@pytest.mark.parametrize("path", python_files(PACKAGE / "hugging_face"), ids=relative)
def test_what_is_copied_beside_an_exported_model_needs_no_fairseq(path: Path) -> None:
    allowed = ("core.", "data.", "hugging_face.")
    for name in imported_modules(path):
        own = name.startswith(tuple(f"tupe_plugin.{room}" for room in allowed))
        assert own or name.split(".")[0] in {"torch", "transformers", *sys.stdlib_module_names}, (
            name
        )


def test_making_data_needs_neither_torch_nor_fairseq() -> None:
    files = {module_name(path): path for path in python_files(PACKAGE)}
    reached, seen = [path for name, path in files.items() if ".data." in name], set()
    while reached:
        path = reached.pop()
        for name in imported_modules(path):
            assert name.split(".")[0] not in ("torch", "fairseq"), f"{relative(path)}: {name}"
            for part in {name, name.rpartition(".")[0]} & files.keys() - seen:
                seen.add(part)
                reached.append(files[part])


@pytest.mark.parametrize("path", python_files(PACKAGE / "data" / "read"), ids=relative)
def test_what_reads_data_knows_nothing_of_what_becomes_of_them(path: Path) -> None:
    rooms = tuple(f"tupe_plugin.data.{room}." for room in ("text", "units", "write"))
    assert [name for name in imported_modules(path) if name.startswith(rooms)] == []


def test_commands_are_imported_by_nobody_but_the_program() -> None:
    """What Python users call too does not stand on the command line."""
    for path in python_files(PACKAGE):
        if path.is_relative_to(PACKAGE / "commands") or path == PACKAGE / "__main__.py":
            continue
        names = [n for n in imported_modules(path) if n.startswith("tupe_plugin.commands")]
        assert not names, f"{relative(path)} imports {names}"


@pytest.mark.parametrize("path", python_files(ROOT / "tests" / "references"), ids=lambda p: p.name)
def test_references_never_import_what_they_are_held_against(path: Path) -> None:
    assert [name for name in imported_modules(path) if name.startswith("tupe_plugin")] == []


def test_private_names_are_imported_by_nobody() -> None:
    """Neither a module `_x` nor a name `_x` of one: what two files need has a public name."""
    for path in (path for path in tracked_files() if path.suffix == ".py"):
        for name in imported_modules(path):
            first, *rest = name.split(".")
            private = [part for part in rest if re.match("_(?!_)", part)]
            assert first not in OUR_PACKAGES or not private, f"{path}: {name}"


def test_no_file_is_named_like_a_heap() -> None:
    heaps = [
        path
        for path in tracked_files()
        if HEAP_NAMES & {part.lower() for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
        and "third_party" not in path.parts
    ]
    assert heaps == []


def test_every_adapter_has_its_equation_in_core() -> None:
    for path in filter(registers, adapter_files()):
        if relative(path) not in OTHER_STEMS:
            assert (PACKAGE / "core" / path.name).is_file(), f"{relative(path)} has no core file"
    for name, core_file in OTHER_STEMS.items():
        assert (PACKAGE / name).is_file(), name
        assert core_file is None or (PACKAGE / core_file).is_file(), core_file


class Method(NamedTuple):
    """A row of README's table of methods."""

    flag: str
    value: str
    file: str


def methods_of_readme() -> list[Method]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| method \| flag \| file \| paper \|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None, "README.md has no table 'method | flag | file | paper'"
    methods = []
    for row in table[1].splitlines()[1:]:
        _, flag, file, _ = (cell.strip() for cell in row.strip().strip("|").split("|"))
        words = flag.strip("`").split()
        methods.append(Method(words[0], words[1] if len(words) > 1 else "", file.strip("`")))
    return methods


@pytest.fixture(scope="module")
def registries() -> dict[str, dict[str, Any]]:
    """flag -> value -> the class of ours that it chooses."""
    import fairseq
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_REGISTRY

    from tupe_plugin.registration import register

    register(fairseq)
    found = {f"--{name.replace('_', '-')}": entry["registry"] for name, entry in REGISTRIES.items()}
    found |= {"--arch": ARCH_MODEL_REGISTRY, "--task": TASK_REGISTRY}
    return {
        flag: {
            value: chosen
            for value, chosen in registry.items()
            if chosen.__module__.startswith("tupe_plugin.")
        }
        for flag, registry in found.items()
    }


def test_readme_lists_what_is_registered(registries: dict[str, dict[str, Any]]) -> None:
    methods = methods_of_readme()
    for method in methods:
        assert (ROOT / method.file).is_file(), method
        if method.flag in registries:
            chosen = registries[method.flag].get(method.value)
            assert chosen is not None, f"{method.flag} {method.value} is not registered"
            assert module_name(ROOT / method.file) == chosen.__module__
    registered = {chosen.__module__ for values in registries.values() for chosen in values.values()}
    listed = {module_name(ROOT / method.file) for method in methods if method.flag in registries}
    assert registered == listed


def our_flags(registries: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """(choice, its value, flag that it brings, help text) for what our configurations declare."""
    for choice, values in registries.items():
        for value, chosen in values.items():
            configuration = getattr(chosen, "__dataclass", None)
            if configuration is None:
                continue
            classes = [c for c in configuration.__mro__ if c.__module__.startswith("tupe_plugin.")]
            declared_here = {name for c in classes for name in c.__annotations__}
            for field in dataclasses.fields(configuration):
                taken_over = isinstance(field.default, str) and field.default.startswith("${")
                if field.name in declared_here and not taken_over:
                    flag = f"--{field.name.replace('_', '-')}"
                    yield choice, value, flag, field.metadata.get("help", "")


def test_our_flags_arrive_in_the_parser(registries: dict[str, dict[str, Any]]) -> None:
    """fairseq drops a flag that clashes with another one without a word."""
    from fairseq import options

    flags = list(our_flags(registries))
    assert any(flag == "--rel-pos" for _, _, flag, _ in flags)
    for choice, value in {(choice, value) for choice, value, _, _ in flags}:
        base = {"--task": "masked_lm", "--arch": "tupe_tiny"} | {choice: value}
        parser = options.get_training_parser()
        arguments = ["data", *(word for pair in base.items() for word in pair)]
        options.parse_args_and_arch(parser, arguments, parse_known=True)
        for flag, text in ((f, t) for c, v, f, t in flags if (c, v) == (choice, value)):
            action = parser._option_string_actions.get(flag)
            assert action is not None, f"{flag} of {choice} {value} is missing"
            assert text, f"{flag} of {choice} {value} has no help text"
            assert action.help == text, f"{flag} of {choice} {value} is another option's flag"


def test_every_number_of_our_command_lines_has_a_bound() -> None:
    """A bound of core/bounds.py is an argparse type; int and float take nan and 10**12."""
    for path in python_files(PACKAGE):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.keyword) and node.arg == "type":
                assert ast.unparse(node.value) not in ("int", "float"), f"{path}:{node.lineno}"


def required(lines: Iterable[str]) -> Iterator[str]:
    """Names of packages that requirements ask for, those of our own extras included."""
    for requirement in map(Requirement, lines):
        if requirement.name == "tupe-plugin":
            extras = read_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
            for extra in requirement.extras:
                yield from required(extras[extra])
        else:
            yield canonicalize_name(requirement.name)


def required_by_the_tests() -> set[str]:
    """What `make gpu` installs, but for what comes with it."""
    own = read_toml(ROOT / "pyproject.toml")["project"]["dependencies"]
    return {*required([*own, "tupe-plugin[tests]"]), "fairseq"}


def test_the_extra_tests_has_what_is_imported() -> None:
    """`make gpu-bundle` goes by it; one test that cannot be imported stops all of `make gpu`."""
    known = required_by_the_tests()
    scripts = {
        path.stem for name in ("benchmarks", "examples") for path in python_files(ROOT / name)
    }
    imported = ("tupe_plugin", "tests", "benchmarks")
    for path in (path for name in imported for path in python_files(ROOT / name)):
        for module in imported_modules(path, only_at_the_top=True):
            name = module.partition(".")[0]
            if name not in {*sys.stdlib_module_names, *OUR_PACKAGES, *scripts}:
                package = canonicalize_name(PACKAGES.get(name, name))
                assert package in known, f"{path}: pyproject.toml's extra `tests` lacks {package}"


def test_a_gpu_machine_has_packages_that_exist() -> None:
    lines = (ROOT / "scripts" / "gpu_machine.txt").read_text("utf-8").splitlines()
    names = [line for line in lines if not line.startswith("#")]
    assert names == sorted({canonicalize_name(name) for name in names})
    for name in set(names) - required_by_the_tests():
        importlib.metadata.distribution(name)


def test_no_file_names_a_place_of_one_machine() -> None:
    # Written in two parts, so that this file does not hold what it looks for.
    place = re.compile("|".join(f"(?<![\\w.])/{root}/" for root in ("work", "root", "opt", "home")))
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = place.search(text)
        assert found is None, f"{path.relative_to(ROOT)} names {text[found.start() :][:40]!r}"


def test_documents_name_files_that_exist() -> None:
    """A path from the top of the project or from the document; `*`, `<...>` and `{a,b}` as read."""
    tops = "benchmarks|docs|examples|preprocess|scripts|tests|tupe_plugin"
    named = re.compile(rf"(?<![\w/.-])(?:{tops})/[\w./*<>{{}},-]*[\w*>}}/]")
    found = 0
    for path in (path for path in tracked_files() if path.suffix in (".md", ".sh")):
        for match in named.finditer(path.read_text(encoding="utf-8")):
            for name in spelled_out(re.sub("<[^>]*>", "*", match[0])):
                found += 1
                there = any(any(top.glob(name)) for top in (ROOT, path.parent))
                assert there, f"{path.relative_to(ROOT)} names {name}"
    assert found


def spelled_out(name: str) -> list[str]:
    """`a/{b,c}.md` -> `a/b.md`, `a/c.md`."""
    choice = re.search(r"\{([^{}]*)\}", name)
    if choice is None:
        return [name]
    before, after = name[: choice.start()], name[choice.end() :]
    return [one for part in choice[1].split(",") for one in spelled_out(before + part + after)]
