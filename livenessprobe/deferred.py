"""Defers imports that dependencies make and rarely use, such as TLS, until the first use.

Dependencies import whatever any of their users may need. That takes a third of the CPU time until
the first response, which matters with a CPU limit of 20m, and more than a third of the memory.

    with imports():
        import trio          its `import ssl` gets a stand-in, `from ssl import ...` an alias
    trio.SSLStream(...)      uses them, which imports ssl

An alias can be called and has attributes, and isinstance() with it is false until its module is
imported. A class can be derived from it but not instantiated. An alias cannot be compared, or be in
an `except` clause. While they are imported, dependencies do none of this with the modules listed
here; if they use one, it is imported at that time. After the block, imports are as usual.

This module can be removed once every supported Python has lazy imports (PEP 810, in 3.15).
"""

from __future__ import annotations

import sys
import typing
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Generator

DEFERRED = {
    "asyncio.sslproto": "TLS",
    "betterproto._version": "betterproto.__version__, from the metadata of packages",
    "dateutil.parser": "timestamps in protobuf's JSON",
    "http.server": "prometheus-client's own servers",
    "hypercorn.protocol.ws_stream": "websockets",
    "hypercorn.trio.run": "hypercorn's own servers",
    "idna": "listening on a host name",
    "logging.config": "hypercorn's own log",
    "multiprocessing.synchronize": "hypercorn's worker processes",
    "prometheus_client.context_managers": "metrics around a block of code",
    "prometheus_client.mmap_dict": "metrics of several processes",
    "socketserver": "prometheus-client's own servers",
    "ssl": "TLS",
    "tokenize": "the source lines in a traceback",
    "tomllib": "hypercorn's configuration files",
    "trio._dtls": "TLS over UDP",
    "trio._file_io": "files",
    "trio._path": "files",
    "trio._ssl": "TLS",
    "trio._subprocess": "child processes",
    "trio._threads": "listening on a host name",
    "urllib.error": "prometheus-client's own client",
    "urllib.request": "prometheus-client's own client",
    "wsgiref.simple_server": "prometheus-client's own servers",
}
"""The deferred modules, and what they are for.

Nothing that responds to a request or counts it is among them, since an import fails in a process
that has no file descriptor left.
"""


@contextmanager
def imports() -> Generator[None]:
    """Defer the import of the `DEFERRED` modules by the modules that this block imports."""
    kinds = dict.fromkeys(DEFERRED, _StandIn) | _REPLACED
    stand_ins = {name: kind(name) for name, kind in kinds.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _StandIn(ModuleType):
    """Stands for the module of the same name; its attributes are aliases until that is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # the import system looks for these
            raise AttributeError(name)
        real = sys.modules.get(self.__name__, self)
        return _Alias(self.__name__, name) if real is self else getattr(real, name)


class _Alias:
    """Stands for an attribute of a module, and imports the module when it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # typing looks for these in annotations
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return self._module in sys.modules and isinstance(instance, self._real())

    def __mro_entries__(self, _bases: tuple[object, ...]) -> tuple[type]:
        return (type(self._name, (), {"__new__": _refuse}),)

    def _real(self) -> Any:
        if isinstance(sys.modules.get(self._module), _StandIn):
            del sys.modules[self._module]
        return getattr(import_module(self._module), self._name)


def _refuse(cls: type, *_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(f"{cls.__qualname__} has no objects: its base's module was not imported")


class _WellKnownTypes(_StandIn):
    """The well-known types that betterproto itself needs; the real module has sixty more."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("generated.well_known_types"), name)


class _Ast(_StandIn):
    """Python's parser, which `inspect` uses for source files and for signatures of C functions.

    Before Python 3.13, `inspect` derives a class from `NodeVisitor` when it is imported.
    """

    class NodeVisitor:
        """A base class whose methods are looked up in the real one when they are used."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_Alias("ast", "NodeVisitor"), name).__get__(self)


class _Ctypes(_StandIn):
    """ctypes without libraries, so that trio does without names for its threads."""

    @property
    def util(self) -> ModuleType:
        """The submodule."""
        return sys.modules["ctypes.util"]

    def CDLL(self, name: str) -> NoReturn:  # noqa: N802 - the name in ctypes
        """Raise OSError, as if the library was not there."""
        raise OSError(name)


class _CtypesUtil(_StandIn):
    """Finds trio's threads library by its name, for which ctypes would run `ldconfig`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if "ctypes" in sys.modules:
            vars(sys.modules["ctypes"])["util"] = self  # as the import system does

    def find_library(self, name: str) -> str | None:
        """Return the file name of a shared library, or None."""
        if name == "pthread":
            return "libpthread.so.0"
        found: str | None = super().__getattr__("find_library")(name)
        return found


class _Subprocess(_StandIn):
    """The constants that asyncio copies and compares, which an alias could not be."""

    PIPE, STDOUT, DEVNULL = -1, -2, -3


class _TypingExtensions(_StandIn):
    """Returns the names that `typing` has in this version of Python from there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(typing, name, None) or super().__getattr__(name)


_REPLACED: dict[str, type[_StandIn]] = {
    "ast": _Ast,
    "betterproto.lib.google.protobuf": _WellKnownTypes,
    "ctypes": _Ctypes,
    "ctypes.util": _CtypesUtil,
    "subprocess": _Subprocess,
    "typing_extensions": _TypingExtensions,
}
"""The stand-ins for modules that dependencies use while they are imported, with what they use."""
