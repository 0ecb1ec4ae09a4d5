"""qtsim backtest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.ablation import print_ablation
from qtsim.cli.screen import Stage, note, print_first_screen, print_json, progress, say, say_place
from qtsim.errors import QtsimError


def backtest(
    strategy: options.Strategy = None,
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    detail: options.Detail = None,
    timerange: options.Timerange = None,
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    instruments: options.Instrument = None,
    from_run: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="Repeat a run; other options override what it was asked."),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option("--agent", metavar="FILE", help="For sizing model rl: evaluate a run's agent.npz, do not train."),
    ] = None,
    transfers: Annotated[
        list[str] | None,
        typer.Option("--transfer", metavar="TIME=AMOUNT", help="A deposit, or below 0 a withdrawal. Repeatable."),
    ] = None,
    outages: Annotated[
        list[str] | None,
        typer.Option(
            "--outage", metavar="FROM,TO,WHAT", help="The program is degraded, critical or blind then. Repeatable."
        ),
    ] = None,
    sample: options.Sample = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run the reference driver too and compare byte for byte.")
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Skip the range and the optimism meter.")] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Run again without each part of the exit engine, each gate, each rule.")
    ] = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Skip the quick look-ahead check.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep no run folder and no report.")] = False,
    as_json: options.Json = False,
) -> None:
    """Backtest a strategy, print the first screen, leave a run folder with an HTML report.

    Without data and options it runs ema_cross on the generated sample market. Where nothing was traded the exit code is
    1, and the screen says where the signals went. Ctrl-C during --ablate ends it there: the run and the parts measured
    so far are kept, and the exit code is 1.

    Examples:

      qtsim backtest

      qtsim backtest -s ema_cross -p BTCUSDT -i 1h --timerange 20230101-20250630

      qtsim backtest --from last --profile tight --set exit.base_tp=2%

      qtsim backtest -s ema_cross -p BTCUSDT -i 1h --ablate
    """
    from qtsim.app.backtest import BacktestOptions, EarlierRun
    from qtsim.app.command import backtest_opened, has_entry, open_run, result_as_dict
    from qtsim.app.injections import read_outages, read_transfers
    from qtsim.app.repeat import open_repeat, repeat_text
    from qtsim.app.workspace import find_workspace
    from qtsim.results.ablation import is_interrupted
    from qtsim.results.summary import no_trades_text

    workspace = find_workspace()
    say_place(workspace.root)
    repeated = open_repeat(workspace, from_run) if from_run is not None else None
    overrides = options.gather_overrides(
        base=repeated.overrides_for(strategy) if repeated else None,
        strategy=strategy,
        symbols=symbols,
        timeframe=timeframe,
        timerange=timerange,
        detail=detail,
        sets=sets,
    )
    tried: list[Any] = []
    rules: dict[str, Any] = repeated.instruments_for(options.split_symbols(symbols)) if repeated else {}
    with progress() as stage:
        opened = open_run(
            workspace,
            profile=profile or (repeated.profile if repeated else None),
            files=config or (),
            overrides=overrides,
            sample=sample or (repeated is not None and repeated.is_sample),
        )
        note(f"data {opened.store.folder}")
        rules |= options.read_instruments(instruments, opened.store)
        result = backtest_opened(
            opened,
            options=BacktestOptions(
                verify=verify,
                fast=fast,
                check=not no_check,
                ablate=ablate,
                instruments=rules,
                outages=read_outages(outages or ()) if outages or not repeated else repeated.outages,
                transfers=read_transfers(transfers or ()) if transfers or not repeated else repeated.transfers,
                agent=agent or (repeated.agent if repeated else None),
                before=EarlierRun(repeated.run_id, repeated.ambiguous) if repeated else None,
            ),
            save=not no_save,
            stage=_telling_of_compilation(stage),
            on_tried=tried.append,
        )
    compared = repeated.compare(result) if repeated else None
    if as_json:
        counted = {} if isinstance(tried[0], str) else {"tried": tried[0].to_dict()}
        print_json(result_as_dict(result, workspace) | counted | ({"repeats": compared} if compared else {}))
    else:
        print_first_screen(result.summary(), tried[0])
        print_ablation(result)
        if compared is not None:
            say(repeat_text(compared))
    kept = f"; the run is complete and kept in {result.path}" if result.path else ""
    if not has_entry(result):
        raise QtsimError(f"{no_trades_text(result)}{kept}")
    if is_interrupted(result.ablation_left_out):
        raise QtsimError(f"the ablation was interrupted{kept}")


def _telling_of_compilation(stage: Stage) -> Callable[[str, int, int], None]:
    """The stage callback, which says before the simulation that it has to be compiled first, and about how long."""

    def tell(what: str, done: int, total: int) -> None:
        if what == "simulating" and done == 0:
            from qtsim.core._jit import is_warm

            if not is_warm():
                note("first run: compiling the simulator, about a minute, once per version")
                what = "compiling"
        stage(what, done, total)

    return tell
