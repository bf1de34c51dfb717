"""What a Python program may say to SwiftCP, and hear from it: the functions of swiftcp.h.

    import swiftcp

    if swiftcp.is_enabled():
        if swiftcp.checkpoint() == swiftcp.RESTARTED:
            print("restarted")

    with swiftcp.critical():
        ...  # no checkpoint is taken in here

    swiftcp.on(swiftcp.EVENT_RESUMED, lambda: print("a checkpoint was taken"))

Outside SwiftCP the module works too: is_enabled() is False, checkpoint() and on() raise OSError with ENOSYS, critical sections
do nothing. The names of swiftcp.h (swiftcp_checkpoint …) stand for the same functions.
"""

import contextlib
import ctypes
import errno
import os

__all__ = [
    "CHECKPOINTED", "RESTARTED", "EVENT_QUIESCED", "EVENT_RESUMED", "EVENT_RESTARTED", "checkpoint", "critical",
    "disable_checkpoint", "enable_checkpoint", "is_enabled", "on"]

# What checkpoint() returns.
CHECKPOINTED = 1
RESTARTED = 2
# Events for on().
EVENT_QUIESCED = 1
EVENT_RESUMED = 2
EVENT_RESTARTED = 3

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_callbacks = []  # the library keeps their addresses for ever


def _find(name, result, *arguments):
    """A function of the preloaded library, None where it is not loaded."""
    try:
        function = getattr(_process, name)
    except AttributeError:
        return None
    function.restype, function.argtypes = result, arguments
    return function


_process = ctypes.CDLL(None, use_errno=True)
_is_enabled = _find("swiftcp_is_enabled", ctypes.c_int)
_checkpoint = _find("swiftcp_checkpoint", ctypes.c_int)
_disable = _find("swiftcp_disable_checkpoint", None)
_enable = _find("swiftcp_enable_checkpoint", None)
_on = _find("swiftcp_on", ctypes.c_int, ctypes.c_int, _CALLBACK, ctypes.c_void_p)


def _error(number):
    return OSError(number, os.strerror(number))


def is_enabled():
    """True when the program runs under SwiftCP and can be checkpointed."""
    return bool(_is_enabled and _is_enabled())


def checkpoint():
    """Checkpoints the computation now and waits until the generation is complete and durable.

    Returns CHECKPOINTED, or RESTARTED in a process that was restarted from it. Raises OSError: ENOSYS outside SwiftCP,
    else the reason of the failure; older generations are unharmed.
    """
    if not _checkpoint:
        raise _error(errno.ENOSYS)
    result = _checkpoint()
    if result == 0:
        raise _error(ctypes.get_errno())
    return result


def disable_checkpoint():
    """Begins a critical section of this thread: no checkpoint is taken until enable_checkpoint() ends it. They nest."""
    if _disable:
        _disable()


def enable_checkpoint():
    """Ends the critical section that this thread began last."""
    if _enable:
        _enable()


@contextlib.contextmanager
def critical():
    """A critical section around a block: `with swiftcp.critical():`."""
    disable_checkpoint()
    try:
        yield
    finally:
        enable_checkpoint()


def on(event, callback):
    """Has callback() called, on a thread of its own, at every EVENT_QUIESCED, EVENT_RESUMED or EVENT_RESTARTED.

    It stays for the life of the process and belongs to its image. Raises OSError: ENOSYS outside SwiftCP, EINVAL no such event,
    ENOSPC too many are registered.
    """
    if not _on:
        raise _error(errno.ENOSYS)
    adapter = _CALLBACK(lambda context: callback())
    _callbacks.append(adapter)
    if _on(event, adapter, None) != 0:
        _callbacks.remove(adapter)
        raise _error(ctypes.get_errno())


swiftcp_is_enabled = is_enabled
swiftcp_checkpoint = checkpoint
swiftcp_disable_checkpoint = disable_checkpoint
swiftcp_enable_checkpoint = enable_checkpoint
swiftcp_on = on
