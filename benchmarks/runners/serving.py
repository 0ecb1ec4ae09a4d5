"""The measured side: a program that is ready, and then answers each line on its input with one timed run.

It needs the standard library alone, since every peer's environment runs it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
KIB_MB = 1024.0 / 1e6


def serve(run: Callable[[], dict[str, Any]], **about: Any) -> None:
    """Say what this is, then time a run for each line that comes in, until there are no more.

    run: does the work and returns what it counted. Its answer gets `seconds`, the time by the clock, `cpu_s`, the time
    of the processor, all threads together, and `peak_mb`, the most memory since `serve` began, where it does not say
    them itself; `start_mb` is what was resident then, the data included.
    """
    forget_peak()
    _say({"start_mb": memory_mb("VmRSS"), **about})
    for _ in sys.stdin:
        began, busy = time.perf_counter(), time.process_time()
        counted = run()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - busy
        _say({"seconds": seconds, "cpu_s": cpu_s, "peak_mb": memory_mb("VmHWM"), **counted})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def forget_peak() -> None:
    """Give back what is free and count the peak from now on (Linux; elsewhere from the start of the process)."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def memory_mb(name: str) -> float:
    """Resident memory of this process, MB: now (VmRSS) or at most (VmHWM)."""
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + ":")) * KIB_MB
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / 1e6 if sys.platform == "darwin" else peak * KIB_MB
