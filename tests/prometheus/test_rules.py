"""promtool's judgement of the rules, and what the rest of deploy/ owes to them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus.harness import ROOT, RULES, Prometheus, compress, promtool

DEPLOY = RULES.parent


def rules(text: str) -> list[Any]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules(RULES.read_text()) if "alert" in rule]

for_each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def test_promtool_finds_nothing_wrong() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", Path(__file__).with_name("rules_test.yaml"))


def test_each_alert_has_a_test() -> None:
    tests = Path(__file__).with_name("rules_test.yaml").read_text()
    tested = set(re.findall(r'alertname="(\w+)"', tests))
    assert tested == {alert["alert"] for alert in ALERTS}


@for_each_alert
def test_each_alert_has_a_section_in_the_runbook(alert: Any) -> None:
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.*)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor == alert["alert"].lower()
    assert alert["alert"] in headings


@for_each_alert
def test_each_alert_says_how_bad_it_is(alert: Any) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}


def test_the_operator_gets_the_same_rules() -> None:
    manifest = yaml.safe_load((DEPLOY / "prometheusrule.yaml").read_text())
    assert manifest["spec"] == yaml.safe_load(RULES.read_text()), "see the head of the manifest"


def test_compressed_rules_differ_in_durations_alone(tmp_path: Path) -> None:
    compressed = compress(RULES.read_text(), 60)
    durations = re.findall(r"(?<=\[)[^\]]+(?=\])|(?<=for: )\S+", compressed)
    assert set(durations) == {"60000ms", "15000ms", "10000ms", "5000ms", "3000ms", "2000ms"}
    path = tmp_path / "rules.yaml"
    path.write_text(compressed)
    promtool("check", "rules", path)


def test_a_server_takes_the_rules_and_evaluates_them(tmp_path: Path) -> None:
    with Prometheus(tmp_path, rules=[RULES], interval=0.1) as prometheus:
        promtool("check", "config", prometheus.config)
        # Where nothing is scraped at all, that is the one thing to tell.
        prometheus.wait_for('ALERTS{alertname="LivenessprobeMissing", alertstate="pending"}')
        assert {(rule["health"], rule.get("lastError")) for rule in prometheus.rules()} == {
            ("ok", None)
        }
