"""Commands and replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.records import Freeze, Reset, Teach, Thaw, Withdraw
from streamd.wire import commands
from streamd.wire.commands import CommandError, Request, Taught
from streamd.wire.times import utc


@pytest.mark.parametrize(
    ("verb", "payload", "request_"),
    [
        ("reset", b'{"group":"pumps","stream":"p 1"}', Request("reset", "pumps", Reset("p 1"))),
        ("reset", b'{"stream":"p1"}', Request("reset", None, Reset("p1"))),
        ("reset", b'{"group":"pumps"}', Request("reset", "pumps", Reset(None))),
        ("freeze", b'{"group":"pumps","stream":null}', Request("freeze", "pumps", Freeze())),
        ("thaw", b"{}", Request("thaw", None, Thaw())),
        ("thaw", b"", Request("thaw", None, Thaw())),
        ("checkpoint", b"", Request("checkpoint", None, None)),
        ("status", b'{"group":"pumps"}', Request("status", "pumps", None)),
        ("feedback", b'{"incident":"p1-7","verdict":"false"}', Request("feedback", None, Teach("p1-7", "false"))),
        ("withdraw", b'{"group":"pumps","incident":"p1-7"}', Request("withdraw", "pumps", Withdraw("p1-7"))),
        ("taught", b"", Request("taught", None, None)),
    ],
)
def test_a_command_is_its_verb_and_its_targets(verb: str, payload: bytes, request_: Request) -> None:
    assert commands.decode("streamd", f"streamd/command/{verb}", payload) == request_


@pytest.mark.parametrize(
    ("topic", "payload", "text"),
    [
        ("other/command/reset", b"", "not a topic of commands; expected streamd/command/<verb>"),
        ("streamd/command", b"", "not a topic of commands"),
        ("streamd/command/", b"", "unknown verb ''"),
        ("streamd/command/explode", b"", "unknown verb 'explode'; expected one of reset, freeze, thaw"),
        ("streamd/command/reset/now", b"", "unknown verb 'reset/now'"),
        ("streamd/command/\ud800\x1b", b"", r"unknown verb '\ud800\x1b'"),
        ("streamd/command/" + "x" * 1000, b"", "unknown verb 'xxx"),
        ("streamd/command/reset", b"now", "bad payload"),
        ("streamd/command/reset", b"[]", "Expected `object`, got `array`"),
        ("streamd/command/reset", b'{"group":1}', "Expected `str | null`, got `int` - at `$.group`"),
        ("streamd/command/reset", b'{"streams":"a"}', "unknown field `streams`"),
        ("streamd/command/reset", b'{"group":"\xff"}', "not UTF-8"),
        ("streamd/command/reset", b'{"group":""}', "group '' can't be a name"),
        ("streamd/command/reset", b'{"stream":"a/b"}', "stream 'a/b' can't be a name"),
        ("streamd/command/reset", b'{"a":' * 100_000, "bad payload"),
        ("streamd/command/freeze", b'{"stream":"a"}', "freeze takes no stream"),
        ("streamd/command/checkpoint", b'{"stream":"a"}', "checkpoint takes no stream"),
        ("streamd/command/feedback", b'{"verdict":"real"}', "feedback needs the id of an incident"),
        ("streamd/command/feedback", b'{"incident":"a-1"}', "feedback needs a verdict"),
        ("streamd/command/feedback", b'{"incident":"a-1","verdict":"maybe"}', "Invalid enum value 'maybe'"),
        ("streamd/command/feedback", b'{"incident":"a-1","verdict":"real","stream":"a"}', "feedback takes no stream"),
        ("streamd/command/withdraw", b'{"incident":"' + 600 * b"a" + b'"}', "withdraw needs the id of an incident"),
        ("streamd/command/withdraw", b'{"incident":"a-1","verdict":"real"}', "withdraw takes no verdict"),
        ("streamd/command/taught", b'{"incident":"a-1"}', "taught takes no incident"),
    ],
)
def test_a_wrong_command_is_refused_with_words_for_its_sender(topic: str, payload: bytes, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        commands.decode("streamd", topic, payload)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(deadline=None)
@given(st.sampled_from(commands.VERBS) | st.text(), st.binary() | st.text().map(lambda t: json.dumps({t: t}).encode()))
def test_any_message_is_a_request_or_an_error_that_can_be_sent_back(verb: str, payload: bytes) -> None:
    try:
        request = commands.decode("s", f"s/command/{verb}", payload)
    except CommandError as error:
        reply, wanted = commands.reply(False, str(error)), {"ok": False, "text": str(error)}
    else:
        reply, wanted = commands.reply(True, "", request), {"ok": True, "text": "", "verb": verb}
        wanted |= {} if request.group is None else {"group": request.group}
    assert json.loads(reply) == wanted


def test_a_reply_says_what_became_of_which_request() -> None:
    request = Request("freeze", "pumps", Freeze())
    assert json.loads(commands.reply(True, "done", request)) == {
        "ok": True,
        "text": "done",
        "verb": "freeze",
        "group": "pumps",
    }


def test_what_was_taught_is_told_in_the_reply_with_stream_and_time() -> None:
    one = Taught("pumps", "p1-7", "false", "p1", utc(1_795_435_200.25), 1_795_435_200.25)
    body = json.loads(commands.reply(True, "1 incidents were taught", Request("taught", None, None), [one]))
    assert body["taught"] == [
        {
            "group": "pumps",
            "incident": "p1-7",
            "verdict": "false",
            "stream": "p1",
            "start": "2026-11-23T12:00:00.250000Z",
            "start_epoch": 1_795_435_200.25,
        }
    ]
    assert json.loads(commands.reply(True, "", Request("taught", None, None), []))["taught"] == []


def test_commands_are_subscribed_to_under_the_prefix() -> None:
    assert commands.topic_filter("plant") == "plant/command/+"
