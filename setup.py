"""Put the shipped strategies into the wheel as `qtsim/_strategies`; pyproject.toml says everything else.

The strategies live in `strategies/` beside the package, because they import qtsim and qtsim never imports them. A
checkout (also an editable installation) finds them there; an installed wheel finds this copy and loads it by path.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithStrategies(build_py):
    """Copy `strategies/*.py` beside the built package."""

    def _copies(self) -> list[tuple[str, str]]:
        target = Path(self.build_lib) / "qtsim" / "_strategies"
        return [(str(source), str(target / source.name)) for source in sorted((ROOT / "strategies").glob("*.py"))]

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else outputs + [target for _, target in self._copies()]


setup(cmdclass={"build_py": BuildWithStrategies})
