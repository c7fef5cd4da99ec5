"""The packages in the image, Debian's and Python's: `python -m tests.image.packages` lists them.

Read from the image itself, from the records that are there for scanners.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from tests.image.build import IMAGE, podman


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package; `source` and `source_version` are what it was built from."""

    kind: str
    """As in a package URL: deb or pypi."""
    name: str
    version: str
    source: str
    source_version: str
    licences: tuple[str, ...]
    """SPDX expressions or plain names, or where to read them."""


@contextmanager
def mounted(image: str = IMAGE) -> Iterator[Path]:
    """Where the image's files can be looked at, until the block ends."""
    yield Path(podman("image", "mount", image))
    podman("image", "unmount", image)


def packages(root: Path) -> list[Package]:
    """All packages of the image whose files are at `root`, by kind and name."""
    records = (root / "var/lib/dpkg/status.d").iterdir()
    metadata = (root / "opt/livenessprobe").glob("*.dist-info/METADATA")
    found = [_deb(root, _fields(path)) for path in records]
    found += [_pypi(_fields(path)) for path in metadata]
    return sorted(found, key=lambda package: (package.kind, package.name))


def _fields(path: Path) -> Message:
    return HeaderParser().parsestr(path.read_text())


def _deb(root: Path, fields: Message) -> Package:
    name, version = fields["Package"], fields["Version"]
    # "name", or "name (version)" where the versions differ.
    source, _, source_version = fields.get("Source", name).partition(" ")
    return Package(
        kind="deb",
        name=name,
        version=version,
        source=source,
        source_version=source_version.strip("()") or version,
        licences=_deb_licences(root, Path("usr/share/doc", name, "copyright")),
    )


def _deb_licences(root: Path, path: Path) -> tuple[str, ...]:
    text = (root / path).read_text()
    if text.startswith("Format:"):  # for machines to read
        return tuple(sorted(set(re.findall(r"^License: *(\S.*)$", text, re.MULTILINE))))
    return (f"see /{path}",)


def _pypi(fields: Message) -> Package:
    name, version = re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]
    return Package(
        kind="pypi",
        name=name,
        version=version,
        source=name,
        source_version=version,
        licences=(fields["License-Expression"] or fields["License"],),
    )


def main() -> None:
    """Print a table."""
    with mounted() as root:
        for package in packages(root):
            licences = ", ".join(package.licences)
            row = f"{package.kind:4}  {package.name:21}  {package.version:32}  {licences}"
            sys.stdout.write(f"{row}\n")


if __name__ == "__main__":
    main()
