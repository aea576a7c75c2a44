from __future__ import annotations

import pytest

from streamd.config import Mqtt, Tls
from streamd.edge.trouble import RESULTS, ConnectError, Result, advise

LOGIN = Mqtt(username="ada", password_file="/run/mqtt-password")


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("settings", [Mqtt(), LOGIN, Mqtt(tls=Tls(ca_file="/etc/ca.crt"))])
def test_there_is_advice_for_everything_that_can_go_wrong(result: Result, settings: Mqtt) -> None:
    advice = advise(ConnectError(result, "what the broker said"), settings)
    assert len(advice) > 10
    assert "\n" not in advice


def test_advice_that_came_with_the_error_goes_before_what_could_be_said_of_any() -> None:
    assert advise(ConnectError("tls", "broken", "mend it"), LOGIN) == "mend it"


@pytest.mark.parametrize(
    ("reason", "settings", "words"),
    [
        ("Not authorized", LOGIN, ['mqtt.username = "ada"', "mqtt.password_file = /run/mqtt-password"]),
        ("Not authorized", Mqtt(username="ada"), ['mqtt.username = "ada"', "want a mqtt.password_file"]),
        ("Bad user name or password", Mqtt(), ["mqtt.username and mqtt.password_file"]),
        ("Client identifier not valid", Mqtt(client_id="pump house"), ['"pump house" as mqtt.client_id']),
    ],
)
def test_a_refusal_names_the_settings_that_may_be_wrong(reason: str, settings: Mqtt, words: list[str]) -> None:
    advice = advise(ConnectError("refused", reason), settings)
    assert all(word in advice for word in words)


def test_a_hang_up_on_plain_text_asks_for_tls_and_one_on_tls_does_not() -> None:
    hung_up = ConnectError("closed", "the connection broke")
    assert "port 8883 want TLS?" in advise(hung_up, Mqtt(port=8883))
    assert "TLS?" not in advise(hung_up, Mqtt(tls=Tls()))
