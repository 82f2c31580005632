"""Why an execution failed, in memory, as text, and in words."""

from contextlib import suppress
from typing import Any

from zart.codec.text import read, write
from zart.errors import (
    SENTENCES,
    BodyFailure,
    DeadlineExceeded,
    EventTimeout,
    ExecutionFailure,
    MaxRetriesExhausted,
    RetriesExhausted,
    RetryExhausted,
    SealedPayload,
    StepFailed,
    StepFailure,
    StepTimedOut,
    TaskTimeout,
)
from zart.naming import type_name
from zart.outcome.saved import TYPE, Declared, Saved, revived, saved_error
from zart.outcome.wording import one_line, origin_of, text_of, trace_of
from zart.payloads import why_sealed

_SUMMARY = 500
_DEADLINE = TaskTimeout()


def failure_of(error: BaseException) -> ExecutionFailure:
    """Return why an execution failed whose body raised this error. Raises nothing."""
    with suppress(Exception):  # an error without the attributes of its class
        if isinstance(error, TaskTimeout):
            return DeadlineExceeded()
        if isinstance(error, MaxRetriesExhausted) and error.last is not None:
            return RetriesExhausted(error.attempts, failure_of(error.last))
        if isinstance(error, StepFailed):
            return StepFailure(error.step, error.error_type, error.message, cause=error)
        step = _step_of(error)
        if step is not None:
            return StepFailure(step, type_name(type(error)), text_of(error), cause=error)
    # What has come through no line of users' code was said by Zart, which has nothing to show of itself.
    trace = trace_of(error) if origin_of(error) else ""
    return BodyFailure(type_name(type(error)), text_of(error), traceback=trace, cause=error)


def _step_of(error: BaseException) -> str | None:
    match error:
        case RetryExhausted() | StepTimedOut():
            return error.step
        case EventTimeout():
            return error.name
        case _:
            step = getattr(error, "zart_step", None)
            return step if type(step) is str else None


def save_failure(failure: ExecutionFailure, declared: Declared) -> str:
    """Return a failure as text. Raises nothing."""
    try:
        return write(_saved(failure, declared))
    except Exception:  # noqa: BLE001 # made by hand, of what is no text
        return write({"failure": "BodyFailure", "error_type": type(failure).__name__, "message": "it could not be saved"})


def load_failure(text: str, declared: Declared) -> ExecutionFailure:
    """Return a failure as it was saved; its `error` is revived as `load_error` would. Raises nothing."""
    try:
        return _loaded(read(text), declared)
    except Exception:  # noqa: BLE001 # whatever is in storage must not end a worker
        return BodyFailure(*_unreadable(text))


def failure_fields(text: str) -> dict[str, Any]:
    """Return a saved failure for people and programs to read: kind, error_type, message, and step, or attempts and last."""
    try:
        return _fields(read(text))
    except Exception:  # noqa: BLE001 # as above
        kind, message = _unreadable(text)
        return {"kind": "BodyFailure", "error_type": kind, "message": message}


def failure_reason(text: str) -> str:
    """Return one line, "ErrorType: message (file.py:12 in function)", of a saved failure; its place in users' code."""
    place = _body(text).get("place")
    return f"{error_summary(text)} ({one_line(place)})" if place else error_summary(text)


def failure_traceback(text: str) -> str | None:
    """Return the traceback of a saved failure of a body, or of its last attempt; None where users' code did not raise it."""
    return _body(text).get("traceback")


def error_summary(text: str) -> str:
    """Return one line, "ErrorType: message", of a saved error or failure."""
    try:
        kind, message = _told(read(text))
    except Exception:  # noqa: BLE001 # as above
        kind, message = _unreadable(text)
    return _summary(kind, message)


def attempt_summary(text: str) -> str | None:
    """Return the same of what a step's last attempt raised, out of the step's saved error; None if time cut it off."""
    try:
        saved = read(text)
        if saved["sort"] == "zart" and saved["class"] == StepTimedOut.__name__:
            return None
        if saved["sort"] == "zart" and saved["class"] == RetryExhausted.__name__:
            _, saved = saved["state"]["last_error"][1][TYPE]
        return _summary(*_told(saved))
    except Exception:  # noqa: BLE001 # as above
        return _summary(*_unreadable(text))


def _body(text: str) -> dict[str, str]:
    """Return the texts that are saved of a body's failure."""
    try:
        saved = read(text)
        while "last" in saved:
            saved = saved["last"]
        return {key: told for key, told in saved.items() if type(told) is str}
    except Exception:  # noqa: BLE001 # as above
        return {}


def _told(saved: Saved) -> tuple[str, str]:
    if "failure" in saved:
        told = _fields(saved)
        return told["error_type"], told["message"]
    if saved["class"] == StepFailed.__name__:
        return saved["state"]["error_type"][1], saved["state"]["message"][1]
    return saved["class"], saved["message"]


def _summary(kind: str, message: str) -> str:
    said = one_line(f"{kind}: {message}" if message else kind)
    return said if len(said) <= _SUMMARY else said[: _SUMMARY - 1] + "…"


def _unreadable(text: str) -> tuple[str, str]:
    if (why := why_sealed(text)) is not None:
        return SealedPayload.__name__, f"what was saved {why}"
    return "DeserializationError", f"what was saved is no failure: {text[:60]!r}"


def _saved(failure: ExecutionFailure, declared: Declared) -> Saved:
    match failure:
        case StepFailure():
            error = saved_error(failure.cause, declared, failure.step)
            words = {"step": failure.step, "error_type": failure.error_type, "message": failure.message}
            return {"failure": "StepFailure", **words, "error": error}
        case RetriesExhausted():
            return {"failure": "RetriesExhausted", "attempts": failure.attempts, "last": _saved(failure.last, declared)}
        case BodyFailure():
            error = saved_error(failure.cause, declared)
            words = {"error_type": failure.error_type, "message": failure.message}
            if failure.traceback:
                words["traceback"] = failure.traceback
            if failure.cause is not None and (place := origin_of(failure.cause)):
                words["place"] = place
            return {"failure": "BodyFailure", **words, "error": error}
        case _:
            return {"failure": "DeadlineExceeded"}


def _loaded(saved: Saved, declared: Declared) -> ExecutionFailure:
    error = saved.get("error")
    cause = None if error is None else revived(error, declared)
    match saved["failure"]:
        case "StepFailure":
            return StepFailure(saved["step"], saved["error_type"], saved["message"], raw=saved, cause=cause)
        case "RetriesExhausted":
            return RetriesExhausted(saved["attempts"], _loaded(saved["last"], declared))
        case "BodyFailure":
            # Without a traceback in what an earlier Zart has saved.
            return BodyFailure(saved["error_type"], saved["message"], traceback=saved.get("traceback", ""), cause=cause)
        case "DeadlineExceeded":
            return DeadlineExceeded()
        case other:
            raise ValueError(other)


def _fields(saved: Saved) -> dict[str, Any]:
    kind = saved["failure"]
    match kind:
        case "RetriesExhausted":
            last, attempts = _fields(saved["last"]), saved["attempts"]
            said = [last["message"]] if last["error_type"] in SENTENCES else [last["error_type"], last["message"]]
            message = f"failed {attempts} times, the last time with: {': '.join(filter(None, said))}"
            return {"kind": kind, "error_type": "MaxRetriesExhausted", "message": message, "attempts": attempts, "last": last}
        case "DeadlineExceeded":
            return {"kind": kind, "error_type": type(_DEADLINE).__name__, "message": str(_DEADLINE)}
        case "StepFailure":
            return {"kind": kind, "step": saved["step"], "error_type": saved["error_type"], "message": saved["message"]}
        case _:
            return {"kind": kind, "error_type": saved["error_type"], "message": saved["message"]}
