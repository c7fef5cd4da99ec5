import pytest

from livenessprobe.flags.logging_config import logging_errors

DEFAULTS = {
    "log-flush-frequency": "5s",
    "logging-format": "text",
    "vmodule": "",
    "log-text-split-stream": "false",
    "log-text-info-buffer-size": "0",
    "log-json-split-stream": "false",
    "log-json-info-buffer-size": "0",
}
ALPHA = "Forbidden: Feature LoggingAlphaOptions is disabled"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"logging-format": "json"},
        {"log-flush-frequency": "1ns"},
        {"vmodule": "a=1"},
        {"vmodule": ",", "logging-format": "json"},
        {"log-text-split-stream": "F", "log-json-info-buffer-size": "0.0Ki"},
    ],
)
def test_values_that_kubernetes_accepts(values: dict[str, str]) -> None:
    assert logging_errors(DEFAULTS | values) is None


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        (
            {"log-flush-frequency": "0"},
            'flushFrequency: Invalid value: "0": Must be greater than zero',
        ),
        (
            {"log-flush-frequency": "-1h"},
            'flushFrequency: Invalid value: "-1h": Must be greater than zero',
        ),
        ({"logging-format": "xml"}, 'format: Invalid value: "xml": Unsupported log format'),
        ({"logging-format": "JSON"}, 'format: Invalid value: "JSON": Unsupported log format'),
        (
            {"logging-format": "", "vmodule": "a=1"},
            'format: Invalid value: "": Unsupported log format',
        ),
        (
            {"logging-format": "json", "vmodule": "a=0"},
            "vmodule: Forbidden: Only supported for text log format",
        ),
        ({"log-text-split-stream": "true"}, f"options.text.splitStream: {ALPHA}"),
        ({"log-text-info-buffer-size": "1"}, f"options.text.infoBufferSize: {ALPHA}"),
        ({"log-json-split-stream": "true"}, f"options.json.splitStream: {ALPHA}"),
        ({"log-json-info-buffer-size": "1Ki"}, f"options.json.infoBufferSize: {ALPHA}"),
    ],
)
def test_errors_have_the_text_of_kubernetes(values: dict[str, str], errors: str) -> None:
    assert logging_errors(DEFAULTS | values) == errors


def test_all_errors_are_reported_in_the_order_of_kubernetes() -> None:
    everything = {
        "log-flush-frequency": "-0s",
        "logging-format": "xml",
        "vmodule": "a=1",
        "log-text-split-stream": "true",
        "log-text-info-buffer-size": "1",
        "log-json-split-stream": "true",
        "log-json-info-buffer-size": "1",
    }
    assert logging_errors(everything) == (
        '[flushFrequency: Invalid value: "-0s": Must be greater than zero, '
        'format: Invalid value: "xml": Unsupported log format, '
        "vmodule: Forbidden: Only supported for text log format, "
        f"options.text.splitStream: {ALPHA}, "
        f"options.text.infoBufferSize: {ALPHA}, "
        f"options.json.splitStream: {ALPHA}, "
        f"options.json.infoBufferSize: {ALPHA}]"
    )
