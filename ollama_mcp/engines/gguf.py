"""What the header of a GGUF file tells about its model, without loading it."""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# By `general.file_type`, as llama.cpp names them.
_QUANTIZATION = dict(
    enumerate(
        [
            "F32",
            "F16",
            "Q4_0",
            "Q4_1",
            "-",
            "-",
            "-",
            "Q8_0",
            "Q5_0",
            "Q5_1",
            "Q2_K",
            "Q3_K_S",
            "Q3_K_M",
            "Q3_K_L",
            "Q4_K_S",
            "Q4_K_M",
            "Q5_K_S",
            "Q5_K_M",
            "Q6_K",
            "IQ2_XXS",
            "IQ2_XS",
            "Q2_K_S",
            "IQ3_XS",
            "IQ3_XXS",
            "IQ1_S",
            "IQ4_NL",
            "IQ3_S",
            "IQ3_M",
            "IQ2_S",
            "IQ2_M",
            "IQ4_XS",
            "IQ1_M",
            "BF16",
            "-",
            "-",
            "-",
            "TQ1_0",
            "TQ2_0",
            "MXFP4",
        ]
    )
)


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of a model; None where the file does not say."""

    architecture: str | None
    context_length: int | None
    """The context it was trained with, in tokens."""
    parameters: int
    """Number of weights."""
    quantization: str | None
    chat_template: str | None
    license: str | None
    pools: bool
    """Whether it has its own way of making one vector of a text, which only embedding models do."""


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF does; `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: Path) -> Header:
    """The header of a file; `ValueError` if it is damaged."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            return reader.header()
        except (struct.error, KeyError, OverflowError) as error:
            raise ValueError(f"the header of {path.name} is damaged: {error}") from error


class _Reader:
    """Walks through the header once; lengths are checked by `struct`, which reads nothing past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = len(MAGIC)

    def header(self) -> Header:
        self._number("I")  # version; all that llama.cpp still reads have this layout
        tensors, entries = self._number("Q"), self._number("Q")
        facts: dict[str, Any] = {}
        for _ in range(entries):
            key = self._text()
            facts[key] = self._value(self._number("I"))
        architecture = facts.get("general.architecture")
        quantization = _QUANTIZATION.get(facts.get("general.file_type", -1), "-")
        return Header(
            architecture=architecture,
            context_length=facts.get(f"{architecture}.context_length"),
            parameters=sum(self._tensor() for _ in range(tensors)),
            quantization=None if quantization == "-" else quantization,
            chat_template=facts.get("tokenizer.chat_template"),
            license=facts.get("general.license"),
            pools=bool(facts.get(f"{architecture}.pooling_type")),
        )

    def _number(self, kind: str) -> Any:
        layout = struct.Struct("<" + kind)
        (value,) = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return value

    def _text(self) -> str:
        length = self._number("Q")
        begin, self._at = self._at, self._at + length
        return self._data[begin : self._at].decode(errors="replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._skip_array()
        return self._number(_SCALARS[kind])

    def _skip_array(self) -> None:
        """Pass over a list: the vocabulary, of no use here and up to half a million entries long."""
        kind, count = self._number("I"), self._number("Q")
        if kind in _SCALARS:
            self._at += count * struct.calcsize("<" + _SCALARS[kind])
        elif kind == _STRING:
            length_of, at = struct.Struct("<Q").unpack_from, self._at
            for _ in range(count):
                at += 8 + length_of(self._data, at)[0]
            self._at = at
        else:
            for _ in range(count):
                self._value(kind)

    def _tensor(self) -> int:
        """The number of weights in the next tensor."""
        self._text()
        sizes = [self._number("Q") for _ in range(self._number("I"))]
        self._number("I")
        self._number("Q")
        return math.prod(sizes)
