"""The one decorator of every compiled function, and the folder in which compiled code is kept.

numba's own cache does not notice an edited callee in another file and would run the old code. The cache folder is
therefore named by a digest of the sources of all kernels and of the numba and numpy versions: an edit starts a new
folder, a warm start finds the old one.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import config as numba_config
from numba.core.caching import UserProvidedCacheLocator

from qtsim.core._linking import LoweringOnly

P = ParamSpec("P")
R = TypeVar("R")
config: Any = numba_config
locator: Any = UserProvidedCacheLocator
njit: Any = numba.njit

KERNEL_PACKAGES = ("core", "sim")


def kernel_digest() -> str:
    """SHA-256, hex, of the sources of every package that holds kernels, in name order."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(f"numba {numba.__version__} numpy {np.__version__}".encode())
    for package in KERNEL_PACKAGES:
        for source in sorted((root / package).glob("*.py")):
            digest.update(f"{package}/{source.name}\n".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


DIGEST = kernel_digest()
OPTIONS: dict[str, Any] = {"fastmath": False, "error_model": "python", "_nrt": False, "nogil": True}
"""Without numba's runtime (_nrt) an allocation in a kernel does not compile, and nothing counts references.

Whoever calls a kernel from Python holds no lock meanwhile (nogil): runs on arrays of their own go side by side."""


def cache_folder() -> Path:
    """Folder for compiled code: QTSIM_CACHE_DIR, else the user's cache folder, else a temporary one."""
    named = os.environ.get("QTSIM_CACHE_DIR")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qtsim"
    folder = base / "kernels" / DIGEST[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.gettempdir()) / f"qtsim-{os.getuid() if hasattr(os, 'getuid') else 0}" / DIGEST[:16]


CACHE_FOLDER = cache_folder()


def is_warm() -> bool:
    """True where the compiled loop is on disk for these sources at this place: numba looks up code by its path too."""
    loop = Path(__file__).resolve().parent.parent / "sim" / "loop.py"
    folder = CACHE_FOLDER / locator.get_suitable_cache_subpath(str(loop))
    return any(folder.glob(f"loop.run_nb-*.py{sys.version_info.major}{sys.version_info.minor}.*.nbc"))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` without fastmath, with a disk cache that notices edits in any kernel's source.

    Called from Python it is compiled whole; kernels that call it link what `LoweringOnly` makes of it.
    """
    if config.DISABLE_JIT:
        return function
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        for_python = njit(cache=True, **OPTIONS)(function)
    finally:
        config.CACHE_DIR = previous
    for_kernels = njit(pipeline_class=LoweringOnly, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)
    for_python.get_call_template = for_kernels.get_call_template
    for_python.get_overload = for_kernels.get_overload
    return cast(Callable[P, R], for_python)
