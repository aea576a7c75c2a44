"""Command messages to requests, and the replies to them.

Knows verbs and what each may name; not whether the group or the stream exists, nor how a verb is carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from streamd.records import Command, Freeze, Reset, Teach, Thaw, Verdict, Withdraw
from streamd.wire import names

Verb: TypeAlias = Literal["reset", "freeze", "thaw", "checkpoint", "status", "feedback", "withdraw", "taught"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)

_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "reset": ("stream",),
    "feedback": ("incident", "verdict"),
    "withdraw": ("incident",),
}  # beside the group; of the rest, nothing
_LONGEST_INCIDENT: Final = 2 * names.MAX_NAME
_SHOWN_CHARS: Final = 64  # of somebody else's text in our error


class CommandError(ValueError):
    """A command message can't be understood; the text says why, for whoever sent it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a command message asks for."""

    verb: Verb
    group: str | None  # None: all groups
    command: Command | None  # for the engine; None: the daemon answers by itself (checkpoint, status, taught)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    group: str | None = None
    stream: str | None = None
    incident: str | None = None
    verdict: Verdict | None = None


class Taught(msgspec.Struct, frozen=True):
    """One incident that somebody has judged."""

    group: str
    incident: str
    verdict: Verdict
    stream: str
    start: datetime
    start_epoch: float


class _Reply(msgspec.Struct, omit_defaults=True):
    ok: bool
    text: str
    verb: str | None = None
    group: str | None = None
    taught: tuple[Taught, ...] | None = None


_bodies = msgspec.json.Decoder(_Body)


def topic_filter(prefix: str) -> str:
    """What to subscribe to for commands."""
    return f"{prefix}/command/+"


def decode(prefix: str, topic: str, payload: bytes) -> Request:
    """The request in a message on `<prefix>/command/<verb>`.

    The payload is a JSON object with `group` (else all groups) and, for reset, `stream` (else all of the group's), for
    feedback `incident` (its id) and `verdict` ("false" or "real"), for withdraw `incident`; or empty, which is the same
    as {}.

    Raises:
        CommandError: the topic is no command's, the verb is unknown, or the payload is not what the verb takes.
    """
    start = f"{prefix}/command/"
    if not topic.startswith(start):
        raise CommandError(f"{_shown(topic)} is not a topic of commands; expected {start}<verb>")
    verb = topic.removeprefix(start)
    if verb not in VERBS:
        raise CommandError(f"unknown verb {_shown(verb)}; expected one of {', '.join(VERBS)}")
    try:
        body = _bodies.decode(payload or b"{}")
    except UnicodeDecodeError as error:
        raise CommandError("the payload is not UTF-8") from error
    except RecursionError as error:
        raise CommandError("the payload is too deep") from error
    except msgspec.DecodeError as error:
        raise CommandError(f"bad payload: {_printable(str(error))}") from error
    for key, value in (("group", body.group), ("stream", body.stream)):
        if value is not None and not names.is_level(value):
            raise CommandError(f"{key} {_shown(value)} can't be a name")
    for key in ("stream", "incident", "verdict"):
        if getattr(body, key) is not None and key not in _TAKES.get(verb, ()):
            raise CommandError(f"{verb} takes no {key}")
    incident = body.incident or ""
    if verb in ("feedback", "withdraw") and not (incident and len(incident) <= _LONGEST_INCIDENT):
        raise CommandError(f'{verb} needs the id of an incident: {{"incident": "..."}}')
    match verb:
        case "feedback":
            if body.verdict is None:
                raise CommandError('feedback needs a verdict: "false" or "real"')
            return Request(verb, body.group, Teach(incident, body.verdict))
        case "withdraw":
            return Request(verb, body.group, Withdraw(incident))
        case "reset":
            return Request(verb, body.group, Reset(body.stream))
        case "freeze":
            return Request(verb, body.group, Freeze())
        case "thaw":
            return Request(verb, body.group, Thaw())
        case _:
            return Request(verb, body.group, None)


def reply(ok: bool, text: str, request: Request | None = None, taught: Sequence[Taught] | None = None) -> bytes:
    """The payload that answers a command: a JSON object with `ok`, `text` and, where understood, `verb` and `group`.

    What was `taught` is told where it was asked for.

    It is matched to its request by MQTT 5's correlation data, which travels beside the payload.
    """
    if request is None:
        return msgspec.json.encode(_Reply(ok, text))
    return msgspec.json.encode(_Reply(ok, text, request.verb, request.group, None if taught is None else tuple(taught)))


def _shown(text: str) -> str:
    """Somebody else's text, quoted, escaped and cut, so that it can stand in an answer or a log."""
    return ascii(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")


def _printable(text: str) -> str:
    return text if names.is_printable(text) and len(text) <= 256 else _shown(text)
