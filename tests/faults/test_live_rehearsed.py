"""Once trading has begun no kernel is loaded any more: the first order, and the first stop, do not wait for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

PROGRAM = """
import json, pathlib, sys
from qtsim.app.live import _rehearse
from tests.live_virtual import in_virtual_time, make_stage, play_through

def loaded():
    kernels = [
        (f"{module}.{name}", one)
        for module, content in list(sys.modules.items()) if module.startswith("qtsim.")
        for name, one in vars(content).items() if hasattr(one, "py_func")
    ]
    return {name: len(kernel.signatures) for name, kernel in kernels}

async def story():
    opened, running = await stage.open()
    plan = stage.plan(stage.world(None))
    _rehearse(plan, opened.runner, lambda line: None)
    before = loaded()
    await play_through(stage)
    await stage.close(opened, running)
    return before, opened.runner

overrides = {"exit.stops.backup.enabled": True, "exit.on_opposite_signal": "close"}
stage = make_stage(pathlib.Path(sys.argv[1]), **overrides)
before, runner = in_virtual_time(stage, story)
late = sorted(name for name, count in loaded().items() if count != before.get(name, 0))
print(json.dumps({"kernels": sum(before.values()), "late": late, "orders": sum(runner.gateway.sent.values())}))
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled, so nothing is loaded")
def test_a_session_loads_every_kernel_before_it_trades(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert found.returncode == 0, found.stderr
    seen = json.loads(found.stdout.splitlines()[-1])
    assert seen["kernels"] > 20
    assert seen["orders"] > 4
    assert seen["late"] == []
