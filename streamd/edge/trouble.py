"""Why the broker was not reached or did not take us in, and what to do about it, in words for whoever reads the log.

Knows the names of the settings; knows no socket. Names files, never what is in them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from streamd.config import Mqtt

Result: TypeAlias = Literal[
    "refused",  # the login, the client id, or us altogether
    "unavailable",
    "protocol",
    "closed",
    "timeout",
    "unreachable",
    "server_certificate",  # we don't accept the broker's
    "client_certificate",  # it doesn't accept ours, or misses one
    "tls",  # anything else about it
    "secret",
]
RESULTS: tuple[Result, ...] = get_args(Result)


class ConnectError(Exception):
    """The broker was not reached, or did not take us in.

    Args:
        result: what it is counted as.
        reason: what is wrong.
        advice: what to do, where more is known than `advise` could say.
    """

    def __init__(self, result: Result, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.result = result
        self.advice = advice


def advise(error: ConnectError, settings: Mqtt) -> str:
    """What to look at, or to change; one clause."""
    if error.advice:
        return error.advice
    match error.result:
        case "refused":
            return _about_refusal(str(error), settings)
        case "unavailable":
            return "nothing here: the broker is busy or has reached a limit of its own"
        case "protocol":
            return 'mqtt.protocol = "auto" takes what the broker speaks'
        case "closed" if settings.tls is None:
            return f"does port {settings.port} want TLS? then [mqtt.tls]; else the broker's log has its reason"
        case "closed" | "tls":
            return "the broker's log has its reason"
        case "timeout":
            return "does the broker hang, or something on the way drop packets? (under systemd: IPAddressAllow=)"
        case "unreachable":
            return "does the broker run there? are mqtt.host and mqtt.port right? (under systemd: IPAddressAllow=)"
        case "secret":
            return "put the secret there, readable for the user that streamd runs as"
        case "server_certificate" | "client_certificate":
            return "look at [mqtt.tls] and the broker's certificates"


def _about_refusal(reason: str, settings: Mqtt) -> str:
    if "dentifier" in reason:
        return f'does the broker take "{settings.client_id}" as mqtt.client_id?'
    if settings.username is None:
        return "the broker wants to know who we are: mqtt.username and mqtt.password_file, or [mqtt.tls] cert_file"
    if settings.password_file is None:
        return f'does the broker know mqtt.username = "{settings.username}"? does it want a mqtt.password_file?'
    return (
        f'does the broker know mqtt.username = "{settings.username}", '
        f"and is what mqtt.password_file = {settings.password_file} holds its password?"
    )
