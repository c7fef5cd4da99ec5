"""What hardly any process uses is imported once it is used: TLS, websockets, web servers...

Our dependencies import whatever any of their users may need. That costs a third of the CPU time
until the first answer, which a container held to 20m feels, and more than a third of the memory.

    with imports():
        import trio          its `import ssl` gets a stand-in, `from ssl import ...` an alias
    trio.SSLStream(...)      uses them, which imports ssl

An alias can be called, has attributes, and no object is an instance of it while its module is not
imported. A class can be derived from it, of which no object can be made. It cannot be caught or
compared. While dependencies are imported they do nothing of that with the modules listed here; one
that they do use is just imported then. After the block nothing is in the way of an import.

Once every supported Python has lazy imports (PEP 810, in 3.15), this module can go.
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
    "idna": "listening on a host's name",
    "logging.config": "hypercorn's own log",
    "multiprocessing.synchronize": "hypercorn's worker processes",
    "prometheus_client.context_managers": "metrics around a block of code",
    "prometheus_client.mmap_dict": "metrics of several processes",
    "socketserver": "prometheus-client's own servers",
    "ssl": "TLS",
    "tokenize": "the sources that a traceback quotes",
    "tomllib": "hypercorn's configuration files",
    "trio._dtls": "TLS over UDP",
    "trio._file_io": "files",
    "trio._path": "files",
    "trio._ssl": "TLS",
    "trio._subprocess": "child processes",
    "trio._threads": "listening on a host's name",
    "urllib.error": "prometheus-client's own client",
    "urllib.request": "prometheus-client's own client",
    "wsgiref.simple_server": "prometheus-client's own servers",
}
"""The modules that wait, and what for.

What answers a probe or counts it is not among them: a machine out of descriptors cannot import.
"""


@contextmanager
def imports() -> Generator[None]:
    """Let the `DEFERRED` modules wait, as far as what is imported in this block wants them."""
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
    """Stands for a module of its name, and hands out aliases until that is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # the import system asks for these
            raise AttributeError(name)
        real = sys.modules.get(self.__name__, self)
        return _Alias(self.__name__, name) if real is self else getattr(real, name)


class _Alias:
    """Stands for something in a module; to use it is to import that."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # typing asks for these, in annotations
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
    """The types of protobuf that betterproto itself builds on; it has sixty more."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("generated.well_known_types"), name)


class _Ast(_StandIn):
    """Python's parser, for the classes in a source file, or for the signature of one in C.

    Before 3.13 `inspect` derives a class from its visitor, and only looks for its methods later.
    """

    class NodeVisitor:
        """Has the methods that it has."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_Alias("ast", "NodeVisitor"), name).__get__(self)


class _Ctypes(_StandIn):
    """Tells trio, which names threads for debuggers to show, that there is no way to do so."""

    @property
    def util(self) -> ModuleType:
        """The module of that name."""
        return sys.modules["ctypes.util"]

    def CDLL(self, name: str) -> NoReturn:  # noqa: N802 - as it is spelled there
        """Load no library."""
        raise OSError(name)


class _CtypesUtil(_StandIn):
    """Tells trio, which looks for the one of threads, what ctypes would run `ldconfig` to know."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if "ctypes" in sys.modules:
            vars(sys.modules["ctypes"])["util"] = self  # where who imports it looks for it

    def find_library(self, name: str) -> str | None:
        """Return the file name of a shared library."""
        if name == "pthread":
            return "libpthread.so.0"
        found: str | None = super().__getattr__("find_library")(name)
        return found


class _Subprocess(_StandIn):
    """Other programs. asyncio copies these numbers, with which an alias could not be compared."""

    PIPE, STDOUT, DEVNULL = -1, -2, -3


class _TypingExtensions(_StandIn):
    """What `typing` has by now, betterproto has from here."""

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
"""The modules of which a little is used: that little, or enough to do without."""
