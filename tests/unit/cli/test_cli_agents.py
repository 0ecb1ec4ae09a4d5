"""The agent of sizing model rl on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from qtsim.results.agents import load_agent
from tests.unit.cli.made_workspace import Run


def test_an_agent_is_trained_evaluated_and_repeated(empty: Run, tmp_path: Path) -> None:
    words = ("backtest", "--fast", "--no-check", "--sample", "-p", "BTCUSDT", "--set", "sizing.model=rl", "--json")
    trained = json.loads(empty(*words).out)
    file = Path(trained["path"]) / "agent.npz"
    assert load_agent(file).seed == 0
    evaluated = json.loads(empty(*words, "--agent", str(file)).out)
    assert evaluated["digest"] != trained["digest"]
    again = json.loads(empty("backtest", "--fast", "--no-check", "--from", evaluated["run"], "--json").out)
    assert again["repeats"] == {"run": evaluated["run"], "same": True, "differs": []}
    answer = empty(*words, "--agent", str(tmp_path / "none.npz"))
    assert answer.code == 1
    assert "there is no agent" in answer.err
