"""Handing a named tuple of arrays to kernels by its address.

numba passes a tuple of arrays as all its members, seven words per array: a call with the tape, the book and the journal
stores several hundred words before it does anything. Behind a reference it is one word, and a kernel reads only the
members that it uses. Kernels read the same either way: `book.slots` of a reference is `book.slots` of the tuple.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numba.core.cgutils
import numba.core.config
import numba.core.imputils
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model

T = TypeVar("T")
cgutils: Any = numba.core.cgutils
config: Any = numba.core.config
imputils: Any = numba.core.imputils


class ByReference(types.Type):
    """Type of the address of a named tuple that nobody changes while the address is in use."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        super().__init__(name=f"ByReference({whole})")


@register_model(ByReference)
class _AddressModel(models.OpaqueModel):
    """One untyped pointer."""


@infer_getattr
class _Members(AttributeTemplate):
    """A member of the tuple has the type that it has in the tuple."""

    key = ByReference

    def generic_resolve(self, typ: Any, attr: str) -> Any:  # type: ignore[override]
        if attr not in typ.whole.fields:
            return None
        return typ.whole[typ.whole.fields.index(attr)]


@imputils.lower_getattr_generic(ByReference)  # type: ignore[untyped-decorator]
def _load_member(context: Any, builder: Any, typ: ByReference, address: Any, attr: str) -> Any:
    """Read one member."""
    place = typ.whole.fields.index(attr)
    whole = context.get_value_type(typ.whole)
    member = cgutils.gep_inbounds(builder, builder.bitcast(address, whole.as_pointer()), 0, place)
    value = _load_parts(builder, member)
    return imputils.impl_ret_borrowed(context, builder, typ.whole[place], value)


def _load_parts(builder: Any, address: Any) -> Any:
    """Load a value part by part, so that parts without use cost nothing."""
    layout = address.type.pointee
    if isinstance(layout, ir.Aggregate):
        value = ir.Constant(layout, ir.Undefined)
        for k in range(len(layout)):
            value = builder.insert_value(value, _load_parts(builder, cgutils.gep_inbounds(builder, address, 0, k)), k)
        return value
    return builder.load(address)


@intrinsic
def _address_of(typing_context: Any, whole: Any) -> Any:
    """The address of a copy of `whole` on the caller's stack: valid until the caller returns."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(cgutils.alloca_once_value(builder, args[0]), cgutils.voidptr_t)

    return ByReference(whole)(whole), codegen


def _itself(whole: T) -> T:
    return whole


by_reference: Any = _itself if config.DISABLE_JIT else _address_of
"""by_reference(named tuple): what to hand to kernels in its place, from within a kernel that outlives their use of it.

Uncompiled it is the tuple itself."""
