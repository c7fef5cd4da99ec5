"""What is in the image, and that each build of one commit has the same in it."""

import json
import stat
from pathlib import Path

import pytest

from livenessprobe import __version__
from tests.image.build import IMAGE, PLATFORM, PLATFORMS, build, podman

MIB = 1 << 20

# PEP 552: what follows a compiled module's magic number if it holds whatever its source says.
UNCHECKED_HASH = b"\x01\x00\x00\x00"


def test_it_is_small(root: Path) -> None:
    assert sum(path.lstat().st_size for path in files(root)) <= 45 * MIB


def test_the_interpreter_is_all_that_could_run_anything_else(root: Path) -> None:
    executables = {
        path.relative_to(root).as_posix()
        for path in files(root)
        # Libraries may have the bit, and a module of a wheel has it for its author's own use.
        if path.stat().st_mode & 0o111 and ".so" not in path.name and path.suffix != ".py"
    }
    assert executables == {"livenessprobe", "usr/bin/python3.13"}


def test_nobody_gets_rights_or_a_place_to_write_from_it(root: Path) -> None:
    modes = {path: path.lstat().st_mode for path in root.rglob("*") if not path.is_symlink()}
    assert [path for path, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [path for path, mode in modes.items() if mode & stat.S_IWOTH] == []
    assert [path for path in modes if path.lstat().st_uid or path.lstat().st_gid] == []


def test_nothing_is_left_to_compile(root: Path) -> None:
    compiled = list(root.rglob("*.pyc"))
    assert {path.read_bytes()[4:8] for path in compiled} == {UNCHECKED_HASH}
    sources = {
        path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc" for path in root.rglob("*.py")
    }
    assert sources == {path for path in compiled if path.parent.name == "__pycache__"}


def test_every_module_of_the_program_finds_all_that_it_imports() -> None:
    script = """
import importlib, pkgutil, sys
sys.path.append("/opt/livenessprobe")
import livenessprobe
for module in pkgutil.walk_packages(livenessprobe.__path__, "livenessprobe."):
    importlib.import_module(module.name)
    print(module.name)
"""
    python = ("--entrypoint=/usr/bin/python3.13", IMAGE, "-IS", "-c")
    imported = podman("run", "--rm", *python, script).splitlines()
    assert "livenessprobe.server.server" in imported


def test_scanners_know_each_library_by_its_package(root: Path) -> None:
    records = {path.name: path.read_text() for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"base-files", "libc6", "libpython3.13-stdlib", "libssl3t64", "netbase"} <= set(records)
    for package, record in records.items():
        assert record.startswith(f"Package: {package}\n")
        assert "\nVersion: " in record
        assert (root / "usr/share/doc" / package / "copyright").is_file()
    assert 'VERSION_ID="13"' in (root / "etc/os-release").read_text()


def test_its_labels_say_what_it_is() -> None:
    config = json.loads(podman("image", "inspect", "--format={{json .Config}}", IMAGE))
    assert config["Labels"]["org.opencontainers.image.title"] == "livenessprobe"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Entrypoint"] == ["/livenessprobe"]
    assert "User" not in config


def test_it_is_for_the_platform() -> None:
    image = podman("image", "inspect", "--format={{.Os}}/{{.Architecture}}", IMAGE)
    assert image == "/".join(PLATFORM.split("/")[:2])
    python = ("--entrypoint=/usr/bin/python3.13", IMAGE, "-IS", "-c")
    machine = podman("run", "--rm", *python, "import os; print(os.uname().machine)")
    assert machine == PLATFORMS[PLATFORM].machine


@pytest.mark.native  # or it takes a second build
def test_each_build_of_one_commit_makes_the_same_layers() -> None:
    again = f"{IMAGE}-again"
    build(again)
    layers = [
        podman("image", "inspect", "--format={{.RootFS.Layers}}", image) for image in (IMAGE, again)
    ]
    podman("image", "rm", again)
    assert layers[0] == layers[1]


def files(root: Path) -> list[Path]:
    """All that is neither a directory nor a link."""
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
