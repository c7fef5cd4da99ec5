"""Checks which imports are deferred, that they happen on use, and that nothing else changes."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import betterproto
import pytest
from betterproto.lib.google import protobuf

from generated import well_known_types
from livenessprobe import deferred
from tests.e2e.harness import free_port

# Some with the modules that they import: the cost grows with their number.
NOT_FOR_A_KUBELET = deferred.DEFERRED.keys() | {
    *("_ast", "_ctypes", "_hashlib", "_posixsubprocess", "_ssl", "ast"),
    *("betterproto.lib.std.google.protobuf", "ctypes", "dateutil", "importlib.metadata", "locale"),
    *("multiprocessing", "pickle", "six", "subprocess", "timeit"),
    *("typing_extensions", "wsproto"),
}

KUBELET = r"""
import os, signal, socket, sys, threading, time
from livenessprobe.__main__ import main

PORT = int(sys.argv[1])

def ask(path):
    request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))

def kubelet():
    answer = b""
    while b" 200 " not in answer:
        time.sleep(0.01)
        try:
            answer = ask(b"/healthz")
        except OSError:
            pass
    for path in b"/metrics", b"/status.json":
        assert b" 200 " in ask(path)
    print(*sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)

started = []
sys.addaudithook(lambda event, args: event == "subprocess.Popen" and started.append(args))
threading.Thread(target=kubelet).start()
print(main([f"--http-endpoint=127.0.0.1:{PORT}", f"--csi-address={sys.argv[2]}"]), started)
"""


@pytest.mark.usefixtures("csi_driver")
def test_serving_kubelet_and_prometheus_imports_no_deferred_module(csi_socket: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-I", "-c", KUBELET, str(free_port()), csi_socket],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
        env=environment,  # measuring coverage imports some of these modules
    )
    modules, end = ended.stdout.splitlines()
    names = set(modules.split())
    assert {"livenessprobe.serve", "trio", "hypercorn.protocol.h11", "grpclib.client"} <= names
    assert names & NOT_FOR_A_KUBELET == set()
    assert end == "0 []"  # no process was started


IMPORTED = """
import sys
from livenessprobe import deferred

with deferred.imports():
    import asyncio, betterproto, hypercorn.protocol.h11, hypercorn.trio, prometheus_client, trio
"""

# For each, an expression that is true, with names from a module that imports it.
USES = {
    "asyncio.sslproto": "asyncio.selector_events.sslproto.add_flowcontrol_defaults(2, 1, 0)",
    "betterproto._version": "betterproto.__version__.startswith('2.')",
    "dateutil.parser": "betterproto.isoparse('2026-01-01').year == 2026",
    "http.server": "prometheus_client.exposition.BaseHTTPRequestHandler.server_version",
    "hypercorn.protocol.ws_stream": "hypercorn.protocol.h11.WSStream.app_send",
    "hypercorn.trio.run": "hypercorn.trio.worker_serve(None, None).close() is None",
    "idna": r"trio._socket._idna.encode('b\u00fccher.example') == b'xn--bcher-kva.example'",
    "logging.config": "hypercorn.logging.dictConfig({'version': 1}) is None",
    "multiprocessing.synchronize": "hypercorn.typing.EventType.is_set",
    "prometheus_client.context_managers": "prometheus_client.metrics.Timer.labels",
    "prometheus_client.mmap_dict": "prometheus_client.values.mmap_key('', '', [], [], '')",
    "socketserver": "prometheus_client.exposition.ThreadingMixIn.block_on_close",
    "ssl": "asyncio.base_events.ssl.create_default_context().check_hostname",
    "tokenize": "asyncio.coroutines.inspect.getsource(deferred.imports)",
    "tomllib": "hypercorn.config.tomllib.loads('a = 1') == {'a': 1}",
    "trio._dtls": "trio.DTLSEndpoint.connect",
    "trio._file_io": "trio.wrap_file(sys.stdout).wrapped is sys.stdout",
    "trio._path": "trio.Path('a/b').name == 'b'",
    "trio._ssl": "trio.SSLStream.do_handshake",
    "trio._subprocess": "trio.run(trio.run_process, ['true']).returncode == 0",
    "trio._threads": "trio.run(trio.to_thread.run_sync, bool, 1)",
    "urllib.error": "prometheus_client.exposition.HTTPError.info",
    "urllib.request": "prometheus_client.exposition.build_opener()",
    "wsgiref.simple_server": "prometheus_client.exposition.WSGIServer.application is None",
}


def run(script: str) -> str:
    """Return the output of the script in a new interpreter."""
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, timeout=30
    )
    return ended.stdout


@pytest.mark.parametrize("module", deferred.DEFERRED)
def test_a_deferred_module_is_imported_when_it_is_used(module: str) -> None:
    assert run(f"{IMPORTED}print(bool({USES[module]}), {module!r} in sys.modules)") == "True True\n"


def test_a_deferred_class_has_no_instances_until_it_is_imported() -> None:
    test = "print(isinstance(context, asyncio.base_events.ssl.SSLContext), '_ssl' in sys.modules)"
    script = f"{IMPORTED}context = None; {test}\nimport ssl; context = ssl.SSLContext(2); {test}"
    assert run(script) == "False False\nTrue True\n"


def test_a_deferred_exception_can_be_caught_once_its_module_is_imported() -> None:
    script = """
ssl = asyncio.base_events.ssl
try:
    ssl.create_default_context().load_verify_locations("/nowhere")
except ssl.SSLError:
    pass
except OSError as error:
    print(error.strerror)
"""
    assert run(IMPORTED + script) == "No such file or directory\n"


def test_inspect_finds_a_class_in_its_source_file() -> None:
    script = "print(asyncio.coroutines.inspect.getsource(deferred._Ast.NodeVisitor), end='')"
    assert run(IMPORTED + script).lstrip().startswith("class NodeVisitor:\n")


def test_a_class_derived_from_the_stand_in_of_node_visitor_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ast")
    with deferred.imports():
        stand_in: Any = import_module("ast")

    class Finder(stand_in.NodeVisitor):  # type: ignore[misc] # Any, as who imports it cannot know
        def visit_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: N802 - as it is called
            found.append(node.name)
            self.generic_visit(node)

    found: list[str] = []
    Finder().visit(ast.parse("class Outer:\n    class Inner: pass"))
    assert found == ["Outer", "Inner"]


def test_inspect_parses_the_signature_of_a_c_function() -> None:
    script = "print(asyncio.coroutines.inspect.signature(len))"
    assert run(IMPORTED + script) == "(obj, /)\n"


def test_asyncio_can_start_subprocesses() -> None:
    script = """
async def say():
    program = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    print(*await program.communicate())

asyncio.run(say())
import subprocess
print(*(getattr(asyncio.subprocess, name) is getattr(subprocess, name)
        for name in ("PIPE", "STDOUT", "DEVNULL")))
"""
    assert run(IMPORTED + script) == "b'hello\\n' None\nTrue True True\n"


def test_threads_work_without_ctypes() -> None:
    script = "print(trio.run(trio.to_thread.run_sync, bool, 1), 'ctypes' in sys.modules)"
    assert run(IMPORTED + script) == "True False\n"


def test_the_threads_library_is_the_one_that_ctypes_finds() -> None:
    script = "print(ctypes.util.find_library('pthread'), ctypes.util.find_library('c'))"
    imported_before = f"import ctypes{IMPORTED}{script}\nimport ctypes.util\n{script}"
    first, second = run(imported_before).splitlines()
    assert first == second


COLOURS = "colorsys"  # which no dependency imports


@pytest.fixture
def _colours_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(deferred, "DEFERRED", {COLOURS: "pictures"})
    yield
    sys.modules.pop(COLOURS, None)


@pytest.mark.usefixtures("_colours_wait")
def test_imports_after_the_block_are_as_usual() -> None:
    with deferred.imports():
        stand_in = import_module(COLOURS)
        alias = stand_in.rgb_to_yiq
    assert COLOURS not in sys.modules
    assert alias(0, 0, 0) == (0, 0, 0)
    assert stand_in.rgb_to_yiq is sys.modules[COLOURS].rgb_to_yiq


@pytest.mark.usefixtures("_colours_wait")
def test_a_deferred_module_used_in_the_block_is_imported_then() -> None:
    with deferred.imports():
        assert import_module(COLOURS).rgb_to_yiq(0, 0, 0) == (0, 0, 0)
        real = import_module(COLOURS)
    assert sys.modules[COLOURS] is real


@pytest.mark.usefixtures("_colours_wait")
def test_a_module_that_is_imported_already_is_not_deferred() -> None:
    real = import_module(COLOURS)
    with deferred.imports():
        assert import_module(COLOURS) is real
    assert sys.modules[COLOURS] is real


@pytest.mark.usefixtures("_colours_wait")
def test_no_object_is_made_of_a_class_whose_bases_wait() -> None:
    with deferred.imports():
        waiting: Any = import_module(COLOURS)

        class Derived(waiting.One, waiting.Other):  # type: ignore[misc] # Any, as above
            def __init__(self) -> None:
                pass

    with pytest.raises(TypeError, match="Derived has no objects: its base's module was not import"):
        Derived()


OUR_TYPES = [kind for kind in vars(well_known_types).values() if isinstance(kind, type)]


def schema(message: type[Any]) -> list[object]:
    """Return the name, Python type and protobuf metadata of each field of a message."""
    return [
        (field.name, field.type, betterproto.FieldMetadata.get(field)) for field in fields(message)
    ]


@pytest.mark.parametrize("ours", OUR_TYPES)
def test_the_generated_well_known_types_equal_betterprotos(ours: type[betterproto.Message]) -> None:
    assert schema(ours) == schema(getattr(protobuf, ours.__name__))


def test_the_other_well_known_types_can_be_imported() -> None:
    script = "from betterproto.lib.google.protobuf import Struct; print(Struct().to_dict())"
    assert run(f"{IMPORTED}{script}") == "{}\n"
