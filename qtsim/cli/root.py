"""The commands by group, and what becomes of errors: exit code 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from qtsim.cli import backtest, config, data, emulator, live, runs, start, strategies
from qtsim.cli import sweep as sweeps
from qtsim.cli import walkforward as walkforwards
from qtsim.cli.screen import note, say
from qtsim.errors import QtsimError

SELDOM = (50_000, 20, 20)
"""Thresholds at which garbage is looked for. Loading and compiling make many objects, and little of it in circles."""

app = typer.Typer(
    name="qtsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (start.init, start.doctor, start.warmup):
    app.command(rich_help_panel="Start")(command)
app.add_typer(config.app, name="config", rich_help_panel="Start")
app.add_typer(strategies.app, name="strategies", rich_help_panel="Research")
app.command(rich_help_panel="Research")(strategies.check)
app.command(rich_help_panel="Research")(start.levels)
app.command(rich_help_panel="Research")(backtest.backtest)
app.command(name="backtesting", hidden=True)(backtest.backtest)
app.command(rich_help_panel="Research")(sweeps.sweep)
app.command(name="hyperopt", hidden=True)(sweeps.sweep)
app.command(rich_help_panel="Research")(walkforwards.walkforward)
app.command(rich_help_panel="Research")(runs.report)
app.add_typer(runs.app, name="runs", rich_help_panel="Research")
app.add_typer(data.app, name="data", rich_help_panel="Data")
app.command(name="download-data", hidden=True)(data.download)
for command in (
    live.live,
    live.status,
    live.resume,
    live.kill,
    live.guardian,
    live.replay,
    emulator.emulator,
):
    app.command(rich_help_panel="Live")(command)
app.command(rich_help_panel="Live")(live.diff)
app.add_typer(live.orders_app, name="orders", rich_help_panel="Live")
for alias in ("positions", "inspect", "monitor"):
    app.command(name=alias, hidden=True)(live.status)

_MODELS = "a later part, models"
_LIVE = "part 5, live trading"
LATER: dict[tuple[str, ...], str] = {
    ("models",): _MODELS,
    ("serve",): _LIVE,
    ("levels", "monitor"): _LIVE,
}
"""Commands of later parts, so that the answer to them is more than 'no such command'."""

# The command-line parser's own errors: all derive from this one, wherever the parser lives in a version of typer.
ParserError: Any = typer.BadParameter.__bases__[0]
INTERRUPTED = 130
"""What the parser returns after Ctrl-C in some of its versions."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"qtsim {version('qtsim')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Backtest-first trading framework for Binance USDT-M futures.

    Start with:  qtsim backtest
    """


def main() -> NoReturn:
    """Run the command line and exit; a user's mistake never shows a traceback (QTSIM_DEBUG=1 shows it)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show `·` is no reason to fail
    gc.set_threshold(*SELDOM)
    debug = bool(os.environ.get("QTSIM_DEBUG"))
    code: object = 0
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except ParserError as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # the help has been printed
            _explain_usage(error)
        code = 2
    except QtsimError as error:
        if debug:
            raise
        note(f"error: {error}")
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        if debug:
            raise
        note("interrupted: nothing is half-written")
        code = 1
    except BrokenPipeError:  # the reader has seen enough: `qtsim config show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:  # the last line of defence: one line, and how to learn more
        if debug:
            raise
        text = " ".join(str(error).split())
        note(f"error: unexpected {type(error).__name__}: {text}; QTSIM_DEBUG=1 shows where, please report it")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _explain_usage(error: Any) -> None:
    """Say what is wrong with a command line, and where its help is."""
    message = " ".join(error.format_message().split()).replace(", 'backtesting'", "")
    words = tuple(word for word in sys.argv[1:] if not word.startswith("-"))
    name = next((words[:count] for count in (1, 2) if words[:count] in LATER), None)
    unknown = ("No such command", "unexpected extra argument", *(("No such option",) if name and name[1:] else ()))
    if name and any(complaint in message for complaint in unknown):
        note(f"error: qtsim {' '.join(name)} is not in this version; it comes with {LATER[name]}")
        return
    note(f"error: {message}")
    context = getattr(error, "ctx", None)
    if context is not None:
        note(f"see: {context.command_path} --help")
