"""The package as it is installed: wheel and editable, start-up hook and console command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunCommand

from .conftest import Corpus
from .training_jobs import fine_tuning, losses

pytestmark = pytest.mark.slow

SOURCES = ("tupe_plugin", "pyproject.toml", "setup.py", "README.md", "LICENSE")
REGISTERED = """
import argparse, sys
from fairseq import utils
for spelling in sys.argv[1:]:
    utils.import_user_module(argparse.Namespace(user_dir=spelling))
from fairseq.models import ARCH_MODEL_REGISTRY
assert "tupe_tiny" in ARCH_MODEL_REGISTRY
print(sys.modules["tupe_plugin"].__path__[0])
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is built from, because a build leaves things behind."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    build(checkout, "-m", "hatchling", "build", "-t", "wheel")
    return next((checkout / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def without_hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("without_hook"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's Python with the wheel in it, and this environment's other packages."""
    python = environment(tmp_path_factory.mktemp("installed"))
    pip(python, "install", "--no-deps", "--no-index", str(wheel))
    return python


def environment(folder: Path) -> Path:
    """A new environment's Python with this environment's packages, but not its start-up hook."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    # A path in a .pth file: packages are found there, but its own .pth files are not read.
    (site_packages(python) / "packages.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def build(checkout: Path, *command: str) -> None:
    subprocess.run(
        [sys.executable, *command], cwd=checkout, check=True, capture_output=True, text=True
    )


def pip(python: Path, *command: str) -> None:
    line = [sys.executable, "-m", "pip", "--python", str(python), *command]
    subprocess.run(line, check=True, capture_output=True, text=True)


def site_packages(python: Path) -> Path:
    """Of the environment that `python` is in. Worked out, not asked for: started with -S, it
    names the folder of the Python that the environment was made from.
    """
    base = str(python.parent.parent)
    folder = Path(sysconfig.get_path("purelib", "posix_prefix", {"base": base, "platbase": base}))
    assert folder.is_relative_to(base)
    return folder


def output(python: Path, *arguments: str, cwd: Path) -> str:
    finished = subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout.strip()


def test_setup_py_builds_the_same_files(checkout: Path, wheel: Path) -> None:
    build(checkout, "setup.py", "-q", "bdist_wheel", "--dist-dir", "dist-setuptools")
    other = next((checkout / "dist-setuptools").glob("*.whl"))

    def files(path: Path) -> set[str]:
        names = zipfile.ZipFile(path).namelist()
        return {name for name in names if ".dist-info/" not in name}

    assert files(other) == files(wheel)
    assert {"_tupe_plugin_startup.pth", "_tupe_plugin_startup.py"} < files(wheel)
    for read in (
        *("data/glue_tasks.toml", "data/text/protected_words.txt"),
        *("sweep/published.toml", "sweep/report_page.html.j2"),
    ):
        assert f"tupe_plugin/{read}" in files(wheel)


def test_the_wheel_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    folder = output(installed.parent / "tupe", "user-dir", cwd=tmp_path)
    assert Path(folder) == site_packages(installed) / "tupe_plugin"
    assert output(installed, "-c", REGISTERED, "tupe_plugin", cwd=tmp_path) == folder
    assert output(installed, "-c", REGISTERED, folder, cwd=tmp_path) == folder
    (tmp_path / "cleaning.txt").write_text("normalize_punctuation,tokenize_words\n")
    (tmp_path / "vocab.txt").write_text("[UNK]\nman\n")
    module = "from tupe_plugin.data.treatment import read_treatment"
    code = f"import pathlib; {module}; print(read_treatment(pathlib.Path())(['“man’s”'])[0])"
    assert output(installed, "-c", code, cwd=tmp_path) == '" man \'s "'


def test_the_wheel_makes_data(installed: Path, tmp_path: Path) -> None:
    """Without a checkout, and without fairseq's help."""
    (tmp_path / "text").write_text("the man and the man\n\nthe other man\n", encoding="utf-8")
    arguments = ["data", "corpus", "--min-letters", "0", "--bpe-merges", "3", "text", "out"]
    said = output(installed.parent / "tupe", *arguments, "--valid-ratio", "0.5", cwd=tmp_path)
    assert said.splitlines()[-1].startswith("data: out/data-bin (")
    assert (tmp_path / "out" / "data-bin" / "train.bin").stat().st_size > 0


def test_a_checkout_is_used_where_a_wheel_is_installed(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    folder = checkout / "tupe_plugin"
    assert output(installed, "-c", REGISTERED, "./tupe_plugin", cwd=checkout) == str(folder)
    assert output(installed, "-c", REGISTERED, str(folder), cwd=tmp_path) == str(folder)


def test_a_second_copy_is_refused_with_both_paths(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    code = f"import tupe_plugin\n{REGISTERED}"
    finished = subprocess.run(
        [installed, "-c", code, checkout / "tupe_plugin"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode != 0
    last_line = finished.stderr.strip().splitlines()[-1]
    assert str(checkout / "tupe_plugin") in last_line
    assert str(site_packages(installed) / "tupe_plugin") in last_line


def test_uninstalling_leaves_nothing_behind(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip(python, "install", "--no-deps", "--no-index", str(wheel))
    assert (site_packages(python) / "_tupe_plugin_startup.pth").exists()
    pip(python, "uninstall", "--yes", "tupe-plugin")
    assert list(site_packages(python).glob("*")) == []


def test_core_is_usable_without_fairseq(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fairseq'] = None\n"
        "import tupe_plugin.core.encoder, torch\n"
        "assert not any(name.startswith('fairseq') for name in sys.modules if name != 'fairseq')"
    )
    output(installed, "-c", code, cwd=tmp_path)


@pytest.mark.parametrize("spelling", ["relative", "absolute", "slash", "link", "parent"])
def test_every_spelling_of_the_path_is_the_same_module(
    run_command: RunCommand, tmp_path: Path, spelling: str
) -> None:
    link = tmp_path / "link_to_plugin"
    link.symlink_to(ROOT / "tupe_plugin")
    spellings = {
        "relative": "./tupe_plugin",
        "absolute": str(ROOT / "tupe_plugin"),
        "slash": "tupe_plugin/",
        "link": str(link),
        "parent": "tests/../tupe_plugin",
    }
    first = spellings.pop(spelling)
    finished = run_command("python", "-c", REGISTERED, first, *spellings.values(), cwd=ROOT)
    assert finished.stdout.strip() == str(ROOT / "tupe_plugin")


def test_an_editable_install_works_outside_the_checkout(
    run_command: RunCommand, tmp_path: Path
) -> None:
    finished = run_command("python", "-c", REGISTERED, "tupe_plugin", cwd=tmp_path)
    assert finished.stdout.strip() == str(ROOT / "tupe_plugin")
    assert run_command("tupe", "user-dir", cwd=tmp_path).stdout.strip() == str(ROOT / "tupe_plugin")


def test_python_may_import_the_plugin_before_fairseq(
    run_command: RunCommand, tmp_path: Path
) -> None:
    code = (
        "import importlib.util, sys; before = list(sys.meta_path)\n"
        "import tupe_plugin\n"
        "assert sys.meta_path == before\n"
        "assert importlib.util.find_spec('fairseq')  # as other libraries look for it\n"
        "assert 'torch' not in sys.modules\n"
        "import tupe_plugin.models\n"
        "from fairseq.criterions import CRITERION_REGISTRY\n"
        "assert 'rdrop' in CRITERION_REGISTRY\n"
    ) + REGISTERED
    run_command("python", "-c", code, "tupe_plugin", cwd=tmp_path)


@pytest.mark.parametrize(
    "first", ["tupe_plugin; tupe_plugin.use_with_fairseq()", "tupe_plugin.models"]
)
def test_python_uses_it_where_nothing_can_be_installed(
    run_command: RunCommand, without_hook: Path, tmp_path: Path, first: str
) -> None:
    code = f"import {first}\n{REGISTERED}"
    command = (without_hook, "-c", code, "tupe_plugin")
    run_command(*command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})


def test_fairseq_trains_where_nothing_can_be_installed(
    run_command: RunCommand, without_hook: Path, corpus: Corpus, tmp_path: Path
) -> None:
    job = fine_tuning(corpus.classification, tmp_path, "--max-update", 2, "--no-save")
    command = (without_hook, "-m", "tupe_plugin", "fairseq-train", *job)
    finished = run_command(*command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert sorted(losses(finished.stdout)) == [1, 2]


def test_spawned_workers_import_it_again(run_command: RunCommand, tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(
        "import argparse, multiprocessing, sys\n"
        "def worker(path):\n"
        "    from fairseq import utils\n"
        "    utils.import_user_module(argparse.Namespace(user_dir=path))\n"
        "    from fairseq.models import ARCH_MODEL_REGISTRY\n"
        "    assert 'tupe_tiny' in ARCH_MODEL_REGISTRY\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(\n"
        "        target=worker, args=(sys.argv[1],))\n"
        "    process.start(); process.join(); sys.exit(process.exitcode)\n"
    )
    run_command("python", script, ROOT / "tupe_plugin", cwd=tmp_path)


def test_the_start_up_hook_imports_nothing(run_command: RunCommand, tmp_path: Path) -> None:
    """Nor does a look for fairseq load anything: both cost a Python that has other work nothing."""
    code = (
        "import sys, importlib.util; assert importlib.util.find_spec('fairseq')\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('tupe', '_tupe',"
        " 'torch', 'fairseq', 'numpy', 'argparse'))))"
    )
    finished = run_command("python", "-c", code, cwd=tmp_path)
    assert finished.stdout.split() == ["_tupe_plugin_startup"]


def test_a_missing_fairseq_is_said_in_one_line(run_command: RunCommand, tmp_path: Path) -> None:
    code = (
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'fairseq' else find(name, *rest)\n"
        "import tupe_plugin.models"
    )
    finished = run_command("python", "-c", code, cwd=tmp_path, check=False)
    assert finished.returncode == 1
    last_line = finished.stdout.strip().splitlines()[-1]
    assert last_line.startswith("ModuleNotFoundError: fairseq is not installed: run `READTHEDOCS=1")


def test_an_old_python_is_named() -> None:
    code = (
        "import sys; sys.version_info = (3, 9, 1)\n"
        f"sys.path.insert(0, {str(ROOT)!r}); import tupe_plugin"
    )
    finished = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert "needs Python 3.10 or newer; this is Python 3.9" in finished.stderr
