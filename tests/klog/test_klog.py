import ast
import json
import logging
import re
import runpy
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe import klog

LOG = klog.get_logger(__name__)
LIBRARY = logging.getLogger("some.library")

# 2026-11-22 14:10:33.828582 UTC
NOW = 1795356633.828582
HEADER = "1122 14:10:33.828582   24900 prober.py:137] "


@pytest.fixture(autouse=True)
def _forget_configuration() -> Iterator[None]:
    yield
    written_to()
    logging.getLogger().handlers.pop()


@pytest.fixture
def _fixed_header(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fix the time, the source line and the process id of records."""

    class FixedRecord(logging.LogRecord):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type] # handed on as they came
            self.created = NOW
            self.process = 24900
            self.pathname = "/app/livenessprobe/probing/prober.py"
            self.filename = "prober.py"
            self.lineno = 137

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    logging.setLogRecordFactory(FixedRecord)
    yield
    logging.setLogRecordFactory(logging.LogRecord)
    monkeypatch.undo()
    time.tzset()


def written_to(
    *,
    logging_format: str = "text",
    verbosity: int = 0,
    vmodule: tuple[tuple[str, int], ...] = (),
) -> StringIO:
    """Configure logging to a stream in memory, and return that."""
    stream = StringIO()
    klog.configure(
        stream=stream, logging_format=logging_format, verbosity=verbosity, vmodule=vmodule
    )
    return stream


# Lines


@pytest.mark.usefixtures("_fixed_header")
def test_text_lines() -> None:
    stream = written_to(verbosity=5)
    LOG.info("Calling CSI driver to discover driver name")
    LOG.info("CSI driver name", driver="fake.csi.example.com")
    LOG.info("Probe() finished", v=5, status="ready", seconds=0.25, tries=2)
    LOG.warning("Flag is ignored", flag="--logtostderr")
    LOG.error("Health check failed", err='rpc error: desc = bad "quoted" thing', failures=3)
    LOG.error("Failed to listen", err=OSError(98, "Address already in use"), address=":9808")
    LOG.error("No cause")
    LOG.info('A "message" is\nalways quoted')
    assert stream.getvalue().splitlines() == [
        f'I{HEADER}"Calling CSI driver to discover driver name"',
        f'I{HEADER}"CSI driver name" driver="fake.csi.example.com"',
        f'I{HEADER}"Probe() finished" status="ready" seconds=0.25 tries=2',
        f'W{HEADER}"Flag is ignored" flag="--logtostderr"',
        f'E{HEADER}"Health check failed" err="rpc error: desc = bad \\"quoted\\" thing" failures=3',
        f'E{HEADER}"Failed to listen" err="[Errno 98] Address already in use" address=":9808"',
        f'E{HEADER}"No cause"',
        f'I{HEADER}"A \\"message\\" is\\nalways quoted"',
    ]


@pytest.mark.usefixtures("_fixed_header")
def test_json_lines() -> None:
    stream = written_to(logging_format="json", verbosity=5)
    LOG.info("CSI driver name", driver="fake.csi.example.com")
    LOG.info("Probe() finished", v=5, seconds=0.25)
    LOG.warning("Flag is ignored", flag="--logtostderr")
    LOG.error("Health check failed", err=RuntimeError("rpc error"), failures=3)
    start = '{"ts":1795356633828.582,"caller":"probing/prober.py:137",'
    assert stream.getvalue().splitlines() == [
        start + '"msg":"CSI driver name","v":0,"driver":"fake.csi.example.com"}',
        start + '"msg":"Probe() finished","v":5,"seconds":0.25}',
        start + '"msg":"Flag is ignored","v":0,"flag":"--logtostderr"}',
        start + '"msg":"Health check failed","err":"rpc error","failures":3}',
    ]


@pytest.mark.usefixtures("_fixed_header")
def test_text_lines_have_the_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "AHEAD-5")  # POSIX: five hours east of Greenwich
    time.tzset()
    stream = written_to()
    LOG.info("message")
    assert stream.getvalue().startswith("I1122 19:10:33.828582 ")


MODULE = """\
from livenessprobe import klog

log = klog.get_logger(__name__)


def speak():
    log.info("here")
    log.warning("here")
    log.error("here")
    log.exception("here", err=OSError())
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "livenessprobe" / "pages.py"
    path.parent.mkdir()
    path.write_text(MODULE)
    return path


@pytest.mark.parametrize("logging_format", ["text", "json"])
def test_a_line_names_its_caller(module: Path, logging_format: str) -> None:
    stream = written_to(logging_format=logging_format)
    runpy.run_path(str(module), run_name="livenessprobe.pages")["speak"]()
    # speak() logs on lines 7 to 10; JSON adds the directory.
    assert (
        re.findall(r'([\w/]+\.py:\d+)["\]]', stream.getvalue())
        == {
            "text": [f"pages.py:{line}" for line in (7, 8, 9, 10)],
            "json": [f"livenessprobe/pages.py:{line}" for line in (7, 8, 9, 10)],
        }[logging_format]
    )


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("plain", '"plain"'),
        ('say "hi"', r'"say \"hi\""'),
        (r"back\slash", r'"back\\slash"'),
        ("bell\a backspace\b", r'"bell\a backspace\b"'),
        ("\t tab \v \f \r", r'"\t tab \v \f \r"'),
        ("\x1b[31m red", r'"\x1b[31m red"'),
        ("\0 \x7f", r'"\x00 \x7f"'),
        ("\x9b C1 control", r'"\u009b C1 control"'),
        ("no-break\u00a0space", r'"no-break\u00a0space"'),
        ("right-to-left \u202e", r'"right-to-left \u202e"'),
        ("tag \U000e0001", r'"tag \U000e0001"'),
        ("Größe 日本 \U0001f600", '"Größe 日本 \U0001f600"'),
        (b"/run/\xff".decode(errors="surrogateescape"), r'"/run/\xff"'),
        ("\ud800 lone", r'"\ud800 lone"'),
        (Path("/run/csi"), '"/run/csi"'),
        (RuntimeError("boom"), '"boom"'),
        (TimeoutError(), '"TimeoutError()"'),
        (3, "3"),
        (-0.5, "-0.5"),
        (True, "true"),
        (False, "false"),
        (None, "<nil>"),
        ("one\ntwo", "<\n\tone\n\ttwo\n >"),
        ("one\ntwo\n", "<\n\tone\n\ttwo\n >"),
        ("one\n\n", "<\n\tone\n\t\n >"),
        ("\n", "<\n\t\n >"),
        (OSError("one\ntwo"), "<\n\tone\n\ttwo\n >"),
        ('as "it" \\is:\t日本\n', '<\n\tas "it" \\is:\t日本\n >'),
        ("forged\r\nE1122 line", "<\n\tforged\\r\n\tE1122 line\n >"),
        ("\x1b[2J\n\x85\u2028", "<\n\t\\x1b[2J\n\t\\u0085\\u2028\n >"),
        (" >\nfaked end", "<\n\t >\n\tfaked end\n >"),
    ],
)
def test_text_values(value: object, text: str) -> None:
    stream = written_to()
    LOG.info("message", key=value, after=1)
    assert stream.getvalue().partition('"message" ')[2] == f"key={text} after=1\n"


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("two\nlines", "two\nlines"),
        ("Größe 日本 \U0001f600", "Größe 日本 \U0001f600"),
        ("\x1b[31m \x9b", "\x1b[31m \x9b"),
        (b"/run/\xff".decode(errors="surrogateescape"), "/run/\ufffd"),
        ("\ud800 lone", "\ufffd lone"),
        (Path("/run/csi"), "/run/csi"),
        (RuntimeError("boom"), "boom"),
        (TimeoutError(), "TimeoutError()"),
        (3, 3),
        (-0.5, -0.5),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (True, True),
        (None, None),
    ],
)
def test_json_values(value: object, parsed: object) -> None:
    stream = written_to(logging_format="json")
    LOG.info("message", key=value)
    assert json.loads(stream.getvalue())["key"] == parsed


ANY_TEXT = st.text(st.characters()) | st.text(
    st.sampled_from("\n\r\t\x1b\x85\u2028\ud800\udcff >]IE")
)


@given(ANY_TEXT, ANY_TEXT)
def test_no_value_can_forge_a_text_line(message: str, value: str) -> None:
    stream = written_to()
    LOG.error(message, err=value)
    written = stream.getvalue()
    assert written.endswith("\n")
    first, *rest = written.splitlines()
    assert re.match(r'E\d{4} \d\d:\d\d:\d\d\.\d{6} [ \d]{7} test_klog\.py:\d+\] ".*" err=', first)
    assert all(line.startswith("\t") for line in rest[:-1])
    assert rest[-1:] in ([], [" >"])
    assert written.replace("\n", "").replace("\t", "").isprintable()
    assert written.encode()


@given(st.text())
def test_a_quoted_value_can_be_read_back(value: str) -> None:
    stream = written_to()
    LOG.info(value)
    quoted = stream.getvalue().partition("] ")[2]
    # The escapes of Go that are used here have the same meaning in Python.
    assert ast.literal_eval(quoted) == value


@given(ANY_TEXT, ANY_TEXT)
def test_any_value_makes_one_json_object_on_one_line(message: str, value: str) -> None:
    stream = written_to(logging_format="json")
    LOG.error(message, err=value)
    (line,) = stream.getvalue().splitlines()
    parsed = json.loads(line)
    assert parsed["msg"] == re.sub("[\ud800-\udfff]", "\ufffd", message)
    assert parsed["err"] == re.sub("[\ud800-\udfff]", "\ufffd", value)
    assert line.isascii()


# Stack traces


def fail(message: str) -> None:
    raise RuntimeError(message)


def caught(message: str) -> RuntimeError:
    with pytest.raises(RuntimeError) as caught_info:
        fail(message)
    return caught_info.value


def log_a_bug() -> None:
    try:
        fail("boom\x1b")
    except RuntimeError as error:
        LOG.exception("Bug", err=error, exit_code=1)


def test_a_stacktrace_in_text() -> None:
    stream = written_to()
    log_a_bug()
    first, *frames, last_frame, end = stream.getvalue().splitlines()
    assert first.endswith(r'"Bug" err="boom\x1b" exit_code=1 stacktrace=<')
    assert frames[0] == "\tTraceback (most recent call last):"
    assert any("in fail" in frame for frame in frames)
    assert last_frame == "\tRuntimeError: boom\\x1b"
    assert end == " >"


def test_a_stacktrace_in_json() -> None:
    stream = written_to(logging_format="json")
    log_a_bug()
    fields = json.loads(stream.getvalue())
    assert fields["err"] == "boom\x1b"
    assert fields["stacktrace"].startswith("Traceback (most recent call last):\n")
    assert fields["stacktrace"].endswith("RuntimeError: boom\x1b\n")


def test_an_error_has_no_stacktrace() -> None:
    stream = written_to()
    LOG.error("Health check failed", err=caught("boom"))
    assert stream.getvalue().endswith('"Health check failed" err="boom"\n')


# Verbosity


def test_verbosity_limits_informational_messages_only() -> None:
    stream = written_to(verbosity=2)
    for v in range(5):
        LOG.info("information", v=v)
    LOG.warning("warning")
    LOG.error("error")
    # Levels 0, 1 and 2 out of five.
    assert [line[0] for line in stream.getvalue().splitlines()] == ["I", "I", "I", "W", "E"]


@pytest.mark.parametrize(
    ("vmodule", "level"),
    [
        ([], 2),
        ([("pages", 5)], 5),
        ([("page?", 5)], 5),
        ([("p*", 5)], 5),
        ([("[o-q]ages", 5)], 5),
        ([("*/livenessprobe/pages", 5)], 5),
        ([("*/livenessprobe/*", 5)], 5),
        ([("Pages", 5)], 2),
        ([("pages.py", 5)], 2),
        ([("livenessprobe", 5)], 2),
        ([("livenessprobe/pages", 5)], 2),  # a pattern with a slash has to match the whole path
        ([("page", 5)], 2),
        ([("pages", 1)], 2),
        ([("prober", 9), ("pages", 3)], 3),
        ([("pages", 3), ("*", 9)], 3),
        (
            [("pages", 1), ("*", 9)],
            2,
        ),  # the first match counts, even if it does not raise the level
    ],
)
def test_vmodule_raises_the_verbosity_of_matching_files(
    module: Path, vmodule: list[tuple[str, int]], level: int
) -> None:
    log = runpy.run_path(str(module))["log"]
    written_to(verbosity=2, vmodule=tuple(vmodule))
    assert log.enabled(level)
    assert not log.enabled(level + 1)


def test_a_new_configuration_replaces_the_old_one() -> None:
    old = written_to(logging_format="json", vmodule=(("test_klog", 5),))
    LOG.info("old", v=5)
    new = written_to(verbosity=1)
    LOG.info("new", v=1)
    LOG.info("too verbose", v=2)
    assert json.loads(old.getvalue())["msg"] == "old"
    assert new.getvalue().endswith('] "new"\n')
    assert new.getvalue().count("\n") == 1


# Libraries


@pytest.mark.usefixtures("_fixed_header")
def test_records_of_libraries() -> None:
    stream = written_to(verbosity=9)
    LIBRARY.info("not shown, whatever -v says")
    LIBRARY.warning("%d connections", 3)
    LIBRARY.error("failed")
    LIBRARY.critical("failed badly")
    assert stream.getvalue().splitlines() == [
        f'W{HEADER}"3 connections"',
        f'E{HEADER}"failed"',
        f'E{HEADER}"failed badly"',
    ]


@pytest.mark.usefixtures("_fixed_header")
def test_records_of_libraries_in_json() -> None:
    stream = written_to(logging_format="json")
    LIBRARY.warning("%d connections", 3)
    LIBRARY.error("failed", exc_info=caught("boom"))
    warning, error = map(json.loads, stream.getvalue().splitlines())
    assert warning == {
        "ts": 1795356633828.582,
        "caller": "probing/prober.py:137",
        "msg": "3 connections",
        "v": 0,
    }
    assert error.keys() == {"ts", "caller", "msg", "stacktrace"}
    assert error["stacktrace"].endswith("RuntimeError: boom\n")


def test_a_malformed_call_is_shown_where_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # Without pytest's own handler, which would raise.
        patch.setattr(logging.getLogger(), "handlers", [])
        stream = written_to()
        arguments = ("three",)
        LIBRARY.warning("%d connections", *arguments)
    first, *_, last, end = stream.getvalue().splitlines()
    assert re.fullmatch(r'E.* test_klog\.py:\d+\] "Malformed log call" stacktrace=<', first)
    assert last.startswith("\tTypeError: ")
    assert end == " >"


# Streams


class BrokenPipe(StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


class Closed(StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.close()


@pytest.mark.parametrize("stream", [BrokenPipe(), Closed()])
def test_a_line_that_cannot_be_written_raises_nothing(
    stream: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logging.raiseExceptions  # as it is by default
    klog.configure(stream=stream, logging_format="text", verbosity=0)
    LOG.info("not written")
    LIBRARY.error("nor this")
    assert capsys.readouterr() == ("", "")
