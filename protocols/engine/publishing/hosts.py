"""Processes of their own for the defender's code: what it remembers in one of them, another never hears of.

A host is a fork of this process, so it has the fitted defense as it is, and hands tensors back through a pipe. It
computes with one thread, because the threads of the process that it was forked from are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import _exit  # bound now: while the user's code runs, `os._exit` is another
from typing import NoReturn

import safetensors.torch
import torch
from torch import Tensor

from vfc.errors import NotApplicableError, UserError

Tensors = Mapping[str, Tensor]
Work = Callable[[], Iterator[Tensors]]

_HEAD = struct.Struct(">BQ")
_PIECE, _FAILED, _DONE = range(3)
_POLL = 0.2
_FIX = "correct it there, or look at it with --no-isolation"


def can_host(device: str) -> bool:
    """Whether the defender's code can have processes of its own here: on Linux, computing on the CPU."""
    return device == "cpu" and sys.platform.startswith("linux")


def in_host(work: Work, *, origin: str, doing: str, limit: float) -> Iterator[dict[str, Tensor]]:
    """What some work yields in a process of its own, piece by piece.

    Args:
        work: what to do; it may hold any object of this process, and changes none of them.
        origin: whose code it runs, for errors.
        doing: what that code does, for errors.
        limit: seconds between two pieces, at most.

    Raises:
        UserError: the process ended, hung, or what it raised itself.
        NotApplicableError: what it raised itself.
        RuntimeError: it raised anything else; the message has the traceback.
    """
    host = _started(work, origin, doing)
    try:
        yield from host.pieces(limit)
    finally:
        host.end()


def in_hosts(
    works: Sequence[Work], *, origin: str, doing: str, limit: float, at_once: int
) -> list[list[dict[str, Tensor]]]:
    """What several works yield, each in a process of its own, so many of them at a time.

    Args:
        works: what to do.
        origin, doing, limit: as for `in_host`.
        at_once: how many processes run side by side, at least 1.

    Raises:
        UserError, NotApplicableError, RuntimeError: as `in_host`, of the first work in order that raises.
    """
    found: list[list[dict[str, Tensor]]] = []
    for first in range(0, len(works), at_once):
        # All of them start here: in a thread a process would be gone with its thread.
        hosts: list[_Host] = []
        for work in works[first : first + at_once]:
            hosts.append(_started(work, origin, doing, beside=hosts))
        listeners = ThreadPoolExecutor(len(hosts))
        try:
            heard = [listeners.submit(_heard, host, limit) for host in hosts]
            found += [each.result() for each in heard]
        finally:
            for host in hosts:
                host.kill()  # whoever still listens hears the end
            listeners.shutdown()
            for host in hosts:
                host.end()
    return found


def _heard(host: _Host, limit: float) -> list[dict[str, Tensor]]:
    return list(host.pieces(limit))


def _started(work: Work, origin: str, doing: str, beside: Sequence[_Host] = ()) -> _Host:
    """A fork of this process that has begun to work, and hears nothing of those beside it."""
    reader, writer = os.pipe()
    _flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of ours only wait, and are gone in the child
        process = os.fork()
    if process == 0:
        for inherited in (reader, *(host.reader for host in beside)):
            os.close(inherited)
        _serve(work, writer)
    os.close(writer)
    return _Host(process=process, reader=reader, subject=f"{origin}, asked in a process of its own to {doing},")


@dataclass(kw_only=True)
class _Host:
    """The side that waits.

    Args:
        process: id of the child.
        reader: its pipe.
        subject: who did what, for errors.
    """

    process: int
    reader: int
    subject: str
    status: int | None = field(default=None, init=False)

    def pieces(self, limit: float) -> Iterator[dict[str, Tensor]]:
        """Everything that comes until it is done."""
        waiting = bytearray()
        heard = time.monotonic()
        while True:
            block = self._block()
            if block == b"":
                raise UserError(f"{self.subject} {self._ending()}", _FIX)
            if block is None and time.monotonic() - heard > limit:
                raise UserError(
                    f"{self.subject} took longer than {limit:g} seconds (--call-limit)",
                    "make it faster, or raise the limit",
                )
            heard = time.monotonic() if block else heard
            waiting += block or b""
            while (frame := _taken(waiting)) is not None:
                kind, content = frame
                if kind == _DONE:
                    return
                if kind == _FAILED:
                    _raise(json.loads(content))
                yield safetensors.torch.load(content)
                heard = time.monotonic()

    def end(self) -> None:
        """Leave nothing behind: neither the process nor those that it started."""
        os.close(self.reader)
        self.kill()
        if self.status is None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.process, 0)

    def kill(self) -> None:
        """Stop the process and those that it started, if they run."""
        with contextlib.suppress(OSError):
            os.killpg(self.process, signal.SIGKILL)
        if self.status is None:
            with contextlib.suppress(OSError):
                os.kill(self.process, signal.SIGKILL)

    def _block(self) -> bytes | None:
        """Bytes from the child; None while there are none yet, empty once there will be no more."""
        gone = self._gone()
        if select.select([self.reader], [], [], 0 if gone else _POLL)[0]:
            return os.read(self.reader, 1 << 20)
        return b"" if gone else None

    def _gone(self) -> bool:
        if self.status is None:
            found, status = os.waitpid(self.process, os.WNOHANG)
            self.status = status if found else None
        return self.status is not None

    def _ending(self) -> str:
        """How the child ended before it was done."""
        patience = time.monotonic() + 1
        while not self._gone() and time.monotonic() < patience:
            time.sleep(0.01)
        if self.status is None:
            return "closed what it answers through"
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return f"ended that process (exit code {code})"
        memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"was killed by signal {-code}{memory}"


def _serve(work: Work, writer: int) -> NoReturn:
    """The side that works; it never returns into what the parent was doing."""
    code, own = 1, os.getpid()

    def send(kind: int, content: bytes) -> None:
        if os.getpid() != own:  # a child of the user's own that forgot to end
            _exit(1)
        for part in (_HEAD.pack(kind, len(content)), content):
            view = memoryview(part)
            while view:
                view = view[os.write(writer, view) :]

    try:
        _settle()
        try:
            for piece in work():
                send(_PIECE, _packed(piece))
        except BaseException as error:
            send(_FAILED, json.dumps(_told(error)).encode())
        else:
            send(_DONE, b"")
        code = 0
    finally:
        _flush()
        _exit(code)


def _packed(piece: Tensors) -> bytes:
    """Tensors as bytes.

    Raises:
        UserError: they stand for more numbers than memory holds.
    """
    try:
        return safetensors.torch.save({name: values.detach().cpu().contiguous() for name, values in piece.items()})
    except (MemoryError, RuntimeError) as error:
        shapes = ", ".join(f"{name} of shape {tuple(values.shape)}" for name, values in piece.items())
        raise UserError(
            f"expected tensors that memory holds from the defense, got {shapes}", "return smaller ones"
        ) from error


def _settle() -> None:
    """Be a process of its own: outside of the terminal's group, gone with the parent, and single-threaded."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    torch.set_num_threads(1)


def _told(error: BaseException) -> dict[str, str]:
    """An error as data."""
    if isinstance(error, UserError):
        return {"kind": "user", "what": error.what, "fix": error.fix}
    if isinstance(error, NotApplicableError):
        return {"kind": "not applicable", "what": str(error)}
    if isinstance(error, MemoryError):
        return {"kind": "user", "what": "the defense ran out of memory", "fix": "give it more, or let it need less"}
    if isinstance(error, SystemExit):
        return {"kind": "user", "what": f"the defense asked for the end of the program ({error.code})", "fix": _FIX}
    return {"kind": "bug", "what": "".join(traceback.format_exception(error))}


def _raise(told: dict[str, str]) -> NoReturn:
    if told["kind"] == "user":
        raise UserError(told["what"], told["fix"])
    if told["kind"] == "not applicable":
        raise NotApplicableError(told["what"])
    raise RuntimeError(f"in a process of its own:\n{told['what']}")


def _taken(waiting: bytearray) -> tuple[int, bytes] | None:
    """The first whole frame, removed from what waits; None while it is not whole."""
    if len(waiting) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack_from(waiting)
    if len(waiting) < _HEAD.size + length:
        return None
    content = bytes(waiting[_HEAD.size : _HEAD.size + length])
    del waiting[: _HEAD.size + length]
    return kind, content


def _flush() -> None:
    """Empty the buffers of the standard streams, so that a fork doubles nothing and an exit loses nothing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
