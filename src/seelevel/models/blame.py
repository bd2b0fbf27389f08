"""What a library raises over someone's model, as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seelevel.errors import DiskFullError, InputError, is_disk_full, reason_of

OUT_OF_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator: can't allocate memory", "CUDA error")


@contextmanager
def blamed(what: str, remedy: str) -> Iterator[None]:
    """Raise `InputError(what (reason); remedy)` for whatever a library raises inside.

    The model's files are a stranger's, and the libraries that read them check little: any exception may come of a
    wrong value. A full disk, a lack of memory and errors of the system pass as they are.
    """
    try:
        yield
    except (InputError, DiskFullError):
        raise
    except BaseException as error:  # tokenizers raises bare Exceptions, and panics of Rust, which are not even that
        panic = type(error).__name__ == "PanicException"
        system = isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError)
        memory = any(mark in f"{type(error).__name__}: {error}" for mark in OUT_OF_MEMORY)
        if system or memory or is_disk_full(error) or not (panic or isinstance(error, Exception)):
            raise
        raise InputError(f"{what} ({reason_of(error)}); {remedy}") from error
