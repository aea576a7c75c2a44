"""Topic templates and the router."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.config import Source
from streamd.wire import topics
from streamd.wire.topics import Route, Router, Template, TemplateError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{stream}", "+"),
        ("plant/{stream}/telemetry", "plant/+/telemetry"),
        ("site/+/{stream}", "site/+/+"),
        ("sensors/{stream}/{channel}", "sensors/+/+"),
        ("sensors/{channel}/of/{stream}/#", "sensors/+/of/+/#"),
        ("/{stream}//x", "/+//x"),
        ("$SYS/{stream}", "$SYS/+"),
    ],
)
def test_the_filter_has_a_plus_for_each_placeholder(text: str, wanted: str) -> None:
    assert Template.parse(text).filter == wanted


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("plant/telemetry", "exactly one level {stream}, found 0"),
        ("", "exactly one level {stream}, found 0"),
        ("{stream}/{stream}", "found 2"),
        ("{stream}/{channel}/{channel}", "at most one level {channel}, found 2"),
        ("plant-{stream}/x", "found 0"),
        ("{stream}/v{channel}", "level 2 is 'v{channel}'"),
        ("{device}/{stream}", "level 1 is '{device}'"),
        ("{stream}/#/x", "# may only be the last level"),
        ("{stream}/a+", "must be a whole level"),
        ("{stream}/a#", "must be a whole level"),
        ("{stream}/a\x00b", "control characters"),
        ("{stream}/\ud800", "lone surrogates"),
        ("{stream}/" + "ü" * 40_000, "longer than 65535 bytes"),
        ("$share/us/{stream}", "shared subscription"),
    ],
)
def test_a_wrong_template_is_refused_with_its_text_and_its_fault(text: str, fault: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    assert fault in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("template", "topic", "match"),
    [
        ("plant/{stream}/telemetry", "plant/pump 1/telemetry", ("pump 1", None)),
        ("plant/{stream}/telemetry", "plant/a/status", None),
        ("plant/{stream}/telemetry", "plant/a/telemetry/x", None),
        ("plant/{stream}/telemetry", "plant/a", None),
        ("plant/{stream}/telemetry", "Plant/a/telemetry", None),
        ("site/+/{stream}", "site/north/a", ("a", None)),
        ("site/+/{stream}", "site//a", ("a", None)),
        ("sensors/{stream}/{channel}", "sensors/a/flow", ("a", "flow")),
        ("{channel}/{stream}", "flow/a", ("a", "flow")),
        ("{stream}/#", "a/b/c", ("a", None)),
        ("{stream}/#", "a", ("a", None)),
        ("x/{stream}/y/#", "x/a", None),
        ("x/{stream}/y/#", "x/a/z/y", None),
    ],
)
def test_a_topic_is_matched_level_by_level(template: str, topic: str, match: tuple[str, str | None] | None) -> None:
    assert Template.parse(template).match(topic) == match


@pytest.mark.parametrize("template", ["{stream}/{channel}/#", "+/{stream}/#", "{stream}/#"])
def test_a_wildcard_in_front_does_not_take_the_brokers_own_topics(template: str) -> None:
    assert Template.parse(template).match("$SYS/broker/uptime") is None


def test_the_brokers_own_topics_are_taken_where_the_template_names_them() -> None:
    assert Template.parse("$SYS/broker/{stream}").match("$SYS/broker/uptime") == ("uptime", None)


@pytest.mark.parametrize("name", ["", "x" * 257, "a\x00", "a\x1b[2J", "\udcff", "+", "#", "a+b"])
def test_a_name_that_can_not_be_used_leads_nowhere(name: str) -> None:
    router = Router([Source(topic="{stream}/{channel}")])
    assert router.match(f"{name}/x") is None
    assert router.match(f"x/{name}") is None


def test_the_first_source_that_fits_wins() -> None:
    router = Router(
        [Source(topic="a/{stream}"), Source(topic="+/{stream}"), Source(topic="+/{channel}/{stream}")],
    )
    assert router.match("a/s") == Route(0, "s", None)
    assert router.match("b/s") == Route(1, "s", None)
    assert router.match("b/c/s") == Route(2, "s", "c")
    assert router.match("b") is None


def test_each_filter_is_subscribed_to_once() -> None:
    router = Router([Source(topic="{stream}/x"), Source(topic="+/{stream}"), Source(topic="{stream}/+")])
    assert router.filters == ("+/x", "+/+")


def test_a_router_refuses_a_source_with_a_wrong_template() -> None:
    with pytest.raises(TemplateError, match="nothing"):
        Router([Source(topic="nothing")])


def test_routes_are_remembered_but_not_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_CACHED_ROUTES", 10)
    router = Router([Source(topic="{stream}/#")])
    assert router.match("a") is router.match("a")
    for number in range(100):
        assert router.match(f"s{number}") == Route(0, f"s{number}", None)
        assert router.match(f"s{number}/" + "x" * 1000) == Route(0, f"s{number}", None)
        assert len(router._found) <= 10
        assert all(len(topic) <= 256 for topic in router._found)
    assert router.match("a") == Route(0, "a", None)


def test_an_over_long_topic_leads_nowhere() -> None:
    router = Router([Source(topic="{stream}/#")])
    assert router.match("a" + "/" * 65_000) == Route(0, "a", None)
    assert router.match("a" + "/" * 65_535) is None


LEVELS = st.one_of(st.sampled_from(["", "a", "b", "$SYS", "+", "#", "{stream}", "\x00", "\ud800"]), st.text())


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(LEVELS).map("/".join)))
def test_no_topic_raises_and_every_route_has_usable_names(topic: str) -> None:
    router = Router([Source(topic="a/{stream}/{channel}"), Source(topic="+/{stream}"), Source(topic="{stream}/b/#")])
    route = router.match(topic)
    assert route == router.match(topic)
    if route is not None:
        assert route.stream in topic.split("/")
        for name in (route.stream, route.channel):
            assert name is None or (0 < len(name) <= 256 and not set(name) & set("+#/\x00\n"))


@settings(deadline=None)
@given(st.lists(LEVELS | st.sampled_from(["{channel}", "a+", "x{stream}"])).map("/".join))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        template = Template.parse(text)
    except TemplateError:
        return
    assert template.filter.count("/") == text.count("/")
    assert "{" not in template.filter
