"""Asking for rows of an array before they are needed, so that waiting for one does not wait for all."""

from __future__ import annotations

from typing import Any

import numba.core.cgutils
import numba.core.config
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

cgutils: Any = numba.core.cgutils
config: Any = numba.core.config

LINE = 64
"""Bytes that a processor reads from memory at once."""
READ, KEEP, DATA = 0, 3, 1
"""llvm.prefetch: to read, to keep near, as data."""


def _nothing(rows: Any, row: int) -> None:
    """Uncompiled, memory is asked for when it is read."""


@intrinsic
def _ask_for(typing_context: Any, rows: Any, row: Any) -> Any:
    """Ask for one row of a contiguous array of one dimension. A row that does not exist does no harm."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        ask = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, word, word, word]), "llvm.prefetch.p0"
        )
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        first = builder.mul(args[1], ir.Constant(args[1].type, size))
        for offset in range(0, size, LINE):
            place = builder.add(first, ir.Constant(args[1].type, offset))
            address = builder.gep(builder.bitcast(array.data, pointer), [place])
            builder.call(ask, [address, word(READ), word(KEEP), word(DATA)])
        return context.get_dummy_value()

    return types.void(rows, types.intp), codegen


ask_for: Any = _nothing if config.DISABLE_JIT else _ask_for
"""ask_for(rows, row): begin to read a row that will be needed."""
