"""For old tooling only, such as `python setup.py bdist_wheel`; pip and uv use pyproject.toml alone.

setuptools takes the metadata from pyproject.toml as well. What it cannot be told there is the
start-up hook: a `.pth` file and a module that lie beside the package, not in it (see
tupe_plugin/compat/startup.py, and [tool.hatch.build.targets.wheel.force-include]).
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STARTUP = Path("tupe_plugin", "compat")
BESIDE_THE_PACKAGE = {
    STARTUP / "startup.pth": "_tupe_plugin_startup.pth",
    STARTUP / "startup.py": "_tupe_plugin_startup.py",
}


class BuildWithStartupHook(build_py):
    """Puts the start-up hook beside the package, and only there."""

    def run(self) -> None:
        super().run()
        for source, name in BESIDE_THE_PACKAGE.items():
            self.copy_file(str(source), str(Path(self.build_lib, name)))

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if Path(module[2]) not in BESIDE_THE_PACKAGE]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        beside = [str(Path(self.build_lib, name)) for name in BESIDE_THE_PACKAGE.values()]
        return [*super().get_outputs(include_bytecode), *beside]


setup(cmdclass={"build_py": BuildWithStartupHook})
