"""Settings: checked when made, read from code, file and environment."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ztmon
from ztmon.budget import LEAST, MOST, false_throttles, thresholds, throttle_score
from ztmon.config import Config, Thresholds


def test_defaults_are_safe():
    """A bare Config watches in shadow mode and learns for a day."""
    config = Config()
    assert (config.shadow, config.auto_throttle, config.kill_switch) == (True, True, False)
    assert (config.learning_hours, config.learning_events, config.capacity) == (24.0, 300, 65536)
    assert config.thresholds == Thresholds(31.0, 61.0, 81.0, 96.0)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("capacity", 0, "whole number from 1 to 16,777,216"),
        ("capacity", 1.5, "whole number"),
        ("capacity", True, "whole number"),
        ("shadow", "yes", "true or false"),
        ("learning_hours", -1, "number from 0 to"),
        ("learning_hours", float("nan"), "number from 0 to"),
        ("max_error_rate", 1.5, "number from 1e-06 to 1, or nothing"),
        ("clock", "sundial", "wall or events"),
        ("allow", (1,), "list of names"),
        ("hash_key", b"short", "16 bytes"),
        ("hash_key", "no hex", "16 bytes"),
    ],
)
def test_a_bad_value_is_refused_with_name_value_and_what_is_allowed(name, value, allowed):
    """The message says which setting, what it was, and what it may be."""
    with pytest.raises(ztmon.ConfigError) as raised:
        Config(**{name: value})
    message = str(raised.value)
    assert message.startswith(f"{name} is ")
    assert allowed in message
    if name != "hash_key":
        assert repr(value) in message or repr((value,)) in message


def test_a_hash_key_is_never_shown():
    """Neither an error nor repr() shows the secret."""
    with pytest.raises(ztmon.ConfigError) as raised:
        Config(hash_key=b"secret")
    assert "secret" not in str(raised.value)
    assert "00" * 16 not in repr(Config(hash_key="00" * 16))
    assert Config(hash_key="00" * 16).hash_key == bytes(16)


def test_thresholds_must_rise():
    """Levels begin one after the other, within 0..100."""
    with pytest.raises(ztmon.ConfigError, match=r"thresholds.throttle is 31"):
        Config(thresholds={"alert": 31.0, "throttle": 31.0})
    with pytest.raises(ztmon.ConfigError, match=r"at most 100"):
        Config(thresholds={"block": 101})
    with pytest.raises(ztmon.ConfigError, match=r"thresholds has \['blok'\]"):
        Config(thresholds={"blok": 99})
    assert Config(thresholds={"alert": 20}).thresholds == Thresholds(alert=20)


def test_a_file_is_read(tmp_path):
    """TOML with the names of the settings."""
    path = tmp_path / "ztmon.toml"
    path.write_text('shadow = false\nallow = ["acme"]\n[thresholds]\nalert = 25\n[max_action]\nbig = "alert"\n')
    config = Config.from_file(path)
    assert config == Config(shadow=False, allow=("acme",), thresholds={"alert": 25}, max_action={"big": "alert"})
    assert config.max_action["big"] is ztmon.Action.ALERT


def test_a_misspelt_name_in_a_file_is_refused_with_the_nearest(tmp_path):
    """Nothing in a file is silently ignored."""
    path = tmp_path / "ztmon.toml"
    path.write_text("shadwo = false\n")
    with pytest.raises(ztmon.ConfigError, match=r"there is no setting shadwo; did you mean shadow\?"):
        Config.from_file(path)


def test_files_that_cannot_be_used(tmp_path):
    """A missing file and broken TOML name the file."""
    with pytest.raises(ztmon.InputError, match=r"none\.toml"):
        Config.from_file(tmp_path / "none.toml")
    path = tmp_path / "broken.toml"
    path.write_text("shadow = = 1")
    with pytest.raises(ztmon.ConfigError, match=r"broken\.toml: is not TOML"):
        Config.from_file(path)


def test_the_environment_is_read_only_when_asked(monkeypatch):
    """from_env() reads the documented variables; a bare Config reads none."""
    for name, value in {
        "SHADOW_MODE": "false", "ENABLE_AUTO_THROTTLE": "false", "ANOMALY_THRESHOLD_ALERT": "20",
        "ANOMALY_THRESHOLD_BLOCK": "99", "ZTMON_CAPACITY": "1000", "ZTMON_ALLOW": '["acme", "globex"]',
        "ZTMON_MAX_ACTION": '{"big": "alert"}', "ZTMON_MAX_REQUESTS_PER_MINUTE": "600", "ZTMON_HASH_KEY": "ab" * 16,
    }.items():
        monkeypatch.setenv(name, value)
    assert Config() == Config()
    assert Config().shadow is True
    config = Config.from_env()
    assert (config.shadow, config.auto_throttle, config.capacity) == (False, False, 1000)
    assert config.thresholds == Thresholds(alert=20, block=99)
    assert config.allow == ("acme", "globex")
    assert config.max_action == {"big": ztmon.Action.ALERT}
    assert (config.max_requests_per_minute, config.hash_key) == (600.0, b"\xab" * 16)


@pytest.mark.parametrize(("written", "read"), [
    ("null", ()),
    ("acme", ("acme",)), ("acme, globex", ("acme", "globex")), ('["a,b", "c"]', ("a,b", "c")), ("", ()), (" acme,, ", ("acme",)),
])
def test_a_list_in_the_environment(monkeypatch, written, read):
    """With commas between, or as JSON where a name has one in it."""
    monkeypatch.setenv("ZTMON_ALLOW", written)
    monkeypatch.setenv("ZTMON_GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1")
    config = Config.from_env()
    assert config.allow == read
    assert config.gateway.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")


def test_a_secret_in_a_bad_variable_is_not_shown(monkeypatch):
    """Keys for UDP are one, however wrong they are."""
    for value in ('["1:c0ffee', '[{"1":"c0ffee"}]', '[["1:c0ffee"]]', '{"1":"c0ffee"}', "1:c0ffee", '["1:c0ffee", 7]'):
        monkeypatch.setenv("ZTMON_GATEWAY_UDP_KEYS", value)
        with pytest.raises(ztmon.ConfigError) as raised:
            Config.from_env()
        assert "(hidden)" in str(raised.value)
        assert "c0ffee" not in "".join(traceback.format_exception(raised.value))


def test_a_password_of_the_application_behind_is_not_shown():
    """Whatever else is wrong with its URL."""
    with pytest.raises(ztmon.ConfigError) as raised:
        ztmon.GatewayConfig(upstream="ftp://user:c0ffee@host")
    assert "upstream is 'ftp://host'" in str(raised.value)


def test_two_keys_have_two_numbers():
    """Else one of them would be lost, which is how a rotation goes wrong."""
    with pytest.raises(ztmon.ConfigError, match="each number once"):
        ztmon.GatewayConfig(udp_keys=("1:" + "11" * 16, "1:" + "22" * 16))


def test_a_variable_that_is_nearly_a_setting_is_warned_of(monkeypatch, caplog):
    """What resembles no setting is left alone: it may be somebody else's."""
    for name in ("ZTMON_SHADOW", "ZTMON_GATEWAY_UDP_KEY", "ZTMON_OF_SOMEBODY_ELSE", "ZTMON_CAPACITY", "ZTMON_GATEWAY_TOKEN",
                 "ZTMON_GATEWAY_URL", "ZTMON_GATEWAY_HASH_KEY"):
        monkeypatch.setenv(name, "1")
    Config.from_env()
    assert [record.getMessage() for record in caplog.records] == [
        "environment: there is no setting ZTMON_GATEWAY_UDP_KEY; did you mean ZTMON_GATEWAY_UDP_KEYS?",
        "environment: there is no setting ZTMON_SHADOW; did you mean SHADOW_MODE?"]


def test_an_empty_environment_gives_the_defaults():
    """from_env() without variables is a bare Config."""
    assert Config.from_env() == Config()


@pytest.mark.parametrize(("name", "value", "said"), [
    ("SHADOW_MODE", "perhaps", "SHADOW_MODE"),
    ("ZTMON_CAPACITY", "many", "ZTMON_CAPACITY"),
    ("ZTMON_CAPACITY", "0", "capacity is 0"),
    ("ZTMON_ALLOW", "[", "ZTMON_ALLOW is '['; it begins as JSON and is none"),
    ("ZTMON_ALLOW", '"acme"', "allowed is a list: names with commas between, or one in JSON"),
    ("ZTMON_ALLOW", "'acme'", "it begins as JSON and is none"),
    ("ZTMON_ALLOW", "[" * 100_000, "it begins as JSON and is none"),
    ("ZTMON_MAX_ACTION", "big=alert", "ZTMON_MAX_ACTION"),
    ("ZTMON_MAX_ACTION", '"big"', "ZTMON_MAX_ACTION is 'big'; allowed is a map in JSON"),
    ("ZTMON_ALLOW", "[1]", "ZTMON_ALLOW"),
    ("ZTMON_GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,nowhere", "trusted_proxies"),
])
def test_a_bad_variable_is_refused(monkeypatch, name, value, said):
    """One line that names the variable or the setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ztmon.ConfigError) as raised:
        Config.from_env()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_budget_sets_the_thresholds():
    """Fewer false throttles a year: throttle begins later, alert where it was, the rest above it."""
    tight, loose = Config(false_throttles_per_partner_year=0.5), Config(false_throttles_per_partner_year=2.0)
    assert tight.thresholds_in_force.throttle > loose.thresholds_in_force.throttle > Thresholds().throttle
    assert tight.thresholds_in_force.alert == Thresholds().alert
    for config in (tight, loose):
        scores = [getattr(config.thresholds_in_force, level) for level in ("alert", "throttle", "quarantine", "block")]
        assert scores == sorted(set(scores))
        assert config.engine_settings()["threshold_throttle"] == config.thresholds_in_force.throttle
    assert Config().thresholds_in_force == Thresholds()


@given(st.floats(LEAST, MOST))
def test_a_budget_is_what_its_threshold_costs(a_year):
    """From a number a year to a score and back, and thresholds that a Config may have."""
    assert false_throttles(throttle_score(a_year)) == pytest.approx(a_year, rel=1e-6)
    found = Thresholds(*thresholds(a_year))
    assert 0.0 < found.alert < found.throttle < found.quarantine < found.block <= 100.0
    assert Config(thresholds=found).thresholds == found


def test_a_budget_and_thresholds_exclude_each_other():
    """Both set is refused, and what is out of reach of any threshold."""
    with pytest.raises(ztmon.ConfigError, match="both set"):
        Config(false_throttles_per_partner_year=1.0, thresholds={"alert": 20.0})
    with pytest.raises(ztmon.ConfigError, match="false_throttles_per_partner_year is 0; allowed is a number from"):
        Config(false_throttles_per_partner_year=0)


def test_a_budget_from_the_environment(monkeypatch):
    """The variable sets it; a threshold beside it is refused."""
    monkeypatch.setenv("ZTMON_FALSE_THROTTLES_PER_PARTNER_YEAR", "1")
    assert Config.from_env().thresholds_in_force == Thresholds(*thresholds(1.0))
    monkeypatch.setenv("ANOMALY_THRESHOLD_ALERT", "20")
    with pytest.raises(ztmon.ConfigError, match="both set"):
        Config.from_env()
