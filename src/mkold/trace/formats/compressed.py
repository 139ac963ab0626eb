"""Compressed input, told by its first bytes and undone as it is read.

gzip, bzip2 and xz by Python's own library, zstd by what is Python's own from 3.14 on
(``backports.zstd`` before). What is damaged or cut short is an error where the damage is met;
what came before it was good.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Generator
from typing import IO, BinaryIO, cast

from mkold.base.errors import InputError
from mkold.base.shown import shown

READ_BYTES = 1 << 20


def _opened(kind: str, source: IO[bytes]) -> IO[bytes]:
    """The unpacked stream of a packed one."""
    match kind:
        case "gzip":
            return cast(IO[bytes], gzip.open(source))
        case "bzip2":
            return cast(IO[bytes], bz2.open(source))
        case "xz":
            return cast(IO[bytes], lzma.open(source))
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast(IO[bytes], zstd.open(source))


_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x78\x9c": "zlib",
    b"\x78\x01": "zlib",
    b"\x78\xda": "zlib",
}


def chunks(source: BinaryIO, name: str) -> Generator[bytes]:
    """What the input holds, in chunks, unpacked if it is packed.

    Raises
    ------
    InputError : it can't be read, or what is packed is damaged
    """
    buffered = io.BufferedReader(cast(io.RawIOBase, source), READ_BYTES)
    kind = ""
    try:
        head = buffered.peek(8)
        kind = next((_MAGIC[magic] for magic in _MAGIC if head.startswith(magic)), "")
        stream = cast(IO[bytes], buffered)
        if kind == "zlib":
            yield from _inflated(stream)
            return
        if kind:
            stream = _opened(kind, stream)
        while chunk := stream.read(READ_BYTES):
            yield chunk
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError) as error:
        raise _damaged(name, kind, error) from error
    except OSError as error:  # bz2 has no error of its own
        if kind and error.errno is None:
            raise _damaged(name, kind, error) from error
        raise InputError(f"can't read {shown(name, most=200)}: {error.strerror}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise _damaged(name, kind, error) from error
    finally:
        buffered.detach()


def _inflated(stream: IO[bytes]) -> Generator[bytes]:
    """What zlib packed, which no file of Python's unpacks."""
    unpacker = zlib.decompressobj()
    while chunk := stream.read(READ_BYTES):
        while chunk:
            yield unpacker.decompress(chunk, READ_BYTES)
            chunk = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise EOFError("the end is missing")


def _damaged(name: str, kind: str, error: Exception) -> InputError:
    reason = shown(error, most=120) or type(error).__name__
    return InputError(
        f"{shown(name, most=200)}: damaged or cut short as {kind or 'a file'}: {reason}\n"
        f"  hint: what can be saved of it can be imported: unpack it by hand first"
    )
