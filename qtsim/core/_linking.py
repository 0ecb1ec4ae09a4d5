"""Compiling kernels that kernels call, so that each is optimised once.

By itself numba makes finished machine code of every kernel, and again of the copy that each of its callers holds, all
the way up: a kernel ten calls deep is optimised ten times. Here a kernel that kernels call stays as it was lowered.
Only what Python calls becomes machine code, and everything below it is linked in and optimised there, as one.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder

compiler_base: Any = CompilerBase
library_base: Any = JITCodeLibrary
pass_builder: Any = DefaultPassBuilder
Linkage: Any = llvmlite.binding.Linkage


class _NoMachineCode:
    """Stands for the code generator once a library is complete."""

    def set_env(self, name: str, env: object) -> None:
        """Nothing: there is no machine code to be told where its globals are."""


class _LoweredLibrary(library_base):  # type: ignore[misc]
    """A kernel as it was lowered, and what it calls; never finished by itself."""

    _whole: Any = None

    def finalize(self) -> None:
        """Take no more code, and let others define the same functions: each caller links a copy."""
        self._raise_if_finalized()
        for library in self._linking_libraries:
            self._reload_init.update(library._reload_init)
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def codegen(self) -> Any:
        """Where code is made; once complete, nowhere."""
        return _NoMachineCode() if self._finalized else self._codegen

    def get_pointer_to_function(self, name: str) -> int:
        """0, which says that there is no such function to run."""
        self._ensure_finalized()
        return 0

    def _get_module_for_linking(self) -> Any:
        """The kernel and everything that it calls, each once."""
        self._ensure_finalized()
        if self._whole is None:
            self._whole = self._final_module.clone()
            called = _called_by(self)
            for library in called:
                self._whole.link_in(_own_module(library), preserve=True)
            _check_linked(self._whole, called)
        return self._whole


def _called_by(library: Any) -> list[Any]:
    """Every library that one needs, directly or not, once each, and each after all that need it.

    In another order functions would be left out: what nothing calls yet is not linked.
    """
    callees_first: list[Any] = []
    seen = {library}

    def visit(caller: Any) -> None:
        for called in caller._linking_libraries:
            if called not in seen:
                seen.add(called)
                if isinstance(called, _LoweredLibrary):
                    visit(called)
                callees_first.append(called)

    visit(library)
    return callees_first[::-1]


def _own_module(library: Any) -> Any:
    """What one library defines; one that numba has finished has all that it calls in it."""
    return library._final_module if isinstance(library, _LoweredLibrary) else library._get_module_for_linking()


def _check_linked(whole: Any, called: list[Any]) -> None:
    """A function left out would be a call into nothing. Errors: RuntimeError that names one."""
    missing = {function.name for function in whole.functions if function.is_declaration}
    for library in called:
        for function in _own_module(library).functions:
            if function.name in missing and not function.is_declaration:
                raise RuntimeError(f"kernel {function.name} was not linked")


class LoweringOnly(compiler_base):  # type: ignore[misc]
    """numba's compiler, which leaves a function as it was lowered."""

    def define_pipelines(self) -> list[Any]:
        """The usual passes, into a library that is not finished."""
        state = self.state
        state.library = _LoweredLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return [pass_builder.define_nopython_pipeline(state)]
