"""A producer of Arrow arrays and streams that fills in the C structs as it is told, and counts what is released."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, pointer
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class CSchema(Structure):
    pass


class CArray(Structure):
    pass


class CStream(Structure):
    pass


RELEASE_SCHEMA = CFUNCTYPE(None, POINTER(CSchema))
RELEASE_ARRAY = CFUNCTYPE(None, POINTER(CArray))
RELEASE_STREAM = CFUNCTYPE(None, POINTER(CStream))
GET_SCHEMA = CFUNCTYPE(c_int, POINTER(CStream), POINTER(CSchema))
GET_NEXT = CFUNCTYPE(c_int, POINTER(CStream), POINTER(CArray))
GET_LAST_ERROR = CFUNCTYPE(c_void_p, POINTER(CStream))

CSchema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_char_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", c_void_p),
    ("dictionary", POINTER(CSchema)),
    ("release", RELEASE_SCHEMA),
    ("private_data", c_void_p),
]
CArray._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", c_void_p),
    ("dictionary", POINTER(CArray)),
    ("release", RELEASE_ARRAY),
    ("private_data", c_void_p),
]
CStream._fields_ = [
    ("get_schema", GET_SCHEMA),
    ("get_next", GET_NEXT),
    ("get_last_error", GET_LAST_ERROR),
    ("release", RELEASE_STREAM),
    ("private_data", c_void_p),
]

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]


@dataclass(frozen=True)
class Array:
    """What one array says of itself. A buffer is its bytes, or None; `released` is a dictionary that is not there."""

    length: int
    buffers: list[bytes | None] | None
    offset: int = 0
    nulls: int = 0
    dictionary: Array | None = None
    released: bool = False
    n_buffers: int | None = None


@dataclass(frozen=True)
class Failure:
    """A call of a stream that fails. The message is None if the stream has nothing to say."""

    code: int
    message: bytes | None = b"the disk is full"


@dataclass
class Producer:
    """An object with `__arrow_c_stream__`; `array()` makes one with `__arrow_c_array__`."""

    kind: bytes | None
    arrays: Sequence[Array | Failure]
    values: bytes | None = None  # the format of the dictionary's values
    metadata: bytes | None = None
    metadata_of_values: bytes | None = None
    schema: Failure | None = None
    without: str = ""  # a function of the stream that is NULL, or "schema" for one that is released
    capsule_name: bytes = b"arrow_array_stream"
    made: int = 0
    released: int = 0
    kept: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(min(max(array.length, 0), 9) for array in self.arrays if isinstance(array, Array))

    def _release(self, struct: Any) -> None:
        self.released += 1
        struct.contents.release = type(struct.contents.release)()

    def _fill_schema(self, schema: CSchema) -> None:
        schema.format, schema.metadata = self.kind, self.metadata
        if self.values is not None:
            inner = CSchema(
                format=self.values, metadata=self.metadata_of_values, release=self._keep(RELEASE_SCHEMA(lambda _: None))
            )
            self.kept.append(inner)
            schema.dictionary = pointer(inner)
        schema.release = self._keep(RELEASE_SCHEMA(self._release))
        self.made += 1

    def _keep(self, what: Any) -> Any:
        self.kept.append(what)
        return what

    def _fill_array(self, array: CArray, wanted: Array, *, inner: bool = False) -> None:
        array.length, array.null_count, array.offset = wanted.length, wanted.nulls, wanted.offset
        if wanted.buffers is not None:
            memory = [None if one is None else ctypes.create_string_buffer(one, len(one)) for one in wanted.buffers]
            pointers = (c_void_p * max(len(memory), 1))(
                *[None if one is None else ctypes.addressof(one) for one in memory]
            )
            self.kept += [memory, pointers]
            array.n_buffers = len(memory)
            array.buffers = ctypes.cast(pointers, POINTER(c_void_p))
        if wanted.n_buffers is not None:
            array.n_buffers = wanted.n_buffers
        if wanted.dictionary is not None:
            values = self._keep(CArray())
            self._fill_array(values, wanted.dictionary, inner=True)
            array.dictionary = pointer(values)
        if inner:
            # The release of an array releases its dictionary too.
            array.release = RELEASE_ARRAY() if wanted.released else self._keep(RELEASE_ARRAY(lambda _: None))
        else:
            array.release = self._keep(RELEASE_ARRAY(self._release))
            self.made += 1

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        said: list[Any] = [None]
        left = list(self.arrays)

        def fail(failure: Failure) -> int:
            said[0] = None if failure.message is None else ctypes.create_string_buffer(failure.message)
            return failure.code

        def get_schema(_: Any, schema: Any) -> int:
            if self.schema is not None:
                ctypes.memset(schema, 0xA5, ctypes.sizeof(CSchema))
                return fail(self.schema)
            if self.without != "schema":
                self._fill_schema(schema.contents)
            return 0

        def get_next(_: Any, array: Any) -> int:
            wanted = left.pop(0) if left else None
            if isinstance(wanted, Failure):
                ctypes.memset(array, 0xA5, ctypes.sizeof(CArray))
                return fail(wanted)
            if wanted is not None:
                self._fill_array(array.contents, wanted)
            return 0

        functions = {
            "get_schema": GET_SCHEMA(get_schema),
            "get_next": GET_NEXT(get_next),
            "get_last_error": GET_LAST_ERROR(lambda _: said[0] and ctypes.addressof(said[0])),
            "release": RELEASE_STREAM(self._release),
        }
        functions.pop(self.without, None)
        stream = CStream(**functions)
        self.kept += [functions, stream, said]
        self.made += "release" in functions
        return _new_capsule(ctypes.addressof(stream), self._keep(self.capsule_name), None)

    def array(self) -> ArrayProducer:
        """The same as one array."""
        return ArrayProducer(**{**self.__dict__, "kept": []})

    def all_released(self) -> bool:
        """Whether everything that was handed over was released, once."""
        return self.made == self.released


class ArrayProducer(Producer):
    """An object with `__arrow_c_array__` alone: its first array."""

    __arrow_c_stream__ = property()

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        schema, array = self._keep(CSchema()), self._keep(CArray())
        self._fill_schema(schema)
        (wanted,) = self.arrays
        assert isinstance(wanted, Array)
        self._fill_array(array, wanted)
        # These capsules have no destructor, so a schema, which stays in its capsule, is not released.
        self.made -= 1
        return (
            _new_capsule(ctypes.addressof(schema), b"arrow_schema", None),
            _new_capsule(ctypes.addressof(array), b"arrow_array", None),
        )


def with_dictionary(array: Array, **more: Any) -> Array:
    """The same array with another dictionary."""
    assert array.dictionary is not None
    return replace(array, dictionary=replace(array.dictionary, **more))
