"""What the image tells of itself: its packages, their licences, and what is known against them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.image.audit import findings
from tests.image.build import TREE
from tests.image.packages import Package, packages
from tests.image.sbom import sbom

LIBC = Package(
    kind="deb",
    name="libc6",
    version="2.41-12+deb13u1+b1",
    source="glibc",
    source_version="2.41-12+deb13u1",
    licences=(),
)
H11 = Package(
    kind="pypi", name="h11", version="0.16.0", source="h11", source_version="0.16.0", licences=()
)

# Newest release first, as some entries have it.
BACKPORTED = [
    *({"introduced": "0.16"}, {"fixed": "0.17"}),
    *({"introduced": "0.9"}, {"fixed": "0.9.1"}),
]


def test_the_packages_are_those_of_the_lock_file_and_of_debian(root: Path) -> None:
    lines = (TREE / "requirements.lock").read_text().splitlines()
    locked = {line.split(" ")[0] for line in lines if "==" in line}
    found = packages(root)
    assert {f"{p.name}=={p.version}" for p in found if p.kind == "pypi"} == locked
    sources = {package.source for package in found if package.kind == "deb"}
    assert {"glibc", "openssl", "python3.13", "zlib"} <= sources


def test_the_bill_of_materials_is_valid_and_complete(root: Path) -> None:
    bill = sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    components = json.loads(bill)["components"]
    assert {c["name"] for c in components} == {p.name for p in packages(root)}
    assert all(component["licenses"] for component in components)
    assert all(
        component["purl"].startswith(("pkg:deb/debian/", "pkg:pypi/")) for component in components
    )
    assert sbom() == bill


@pytest.mark.parametrize(
    ("package", "affected", "is_found"),
    [
        (H11, [("PyPI", "h11", [{"introduced": "0"}, {"fixed": "0.16.0"}])], False),
        (H11, [("PyPI", "h11", [{"introduced": "0"}, {"fixed": "0.16.1"}])], True),
        (H11, [("PyPI", "h11", [{"introduced": "0.17.0"}])], False),
        (H11, [("PyPI", "h11", [{"introduced": "0"}, {"last_affected": "0.16.0"}])], True),
        (H11, [("PyPI", "h11", [{"introduced": "0"}, {"last_affected": "0.9.0"}])], False),
        (H11, [("PyPI", "h11", BACKPORTED)], True),
        (replace(H11, source_version="0.17.1"), [("PyPI", "h11", BACKPORTED)], False),
        (H11, [("PyPI", "h2", [{"introduced": "0"}])], False),
        (H11, [("Debian:13", "h11", [{"introduced": "0"}])], False),
        (H11, [("PyPI", "h2", []), ("PyPI", "h11", [{"introduced": "0"}])], True),
        (LIBC, [("Debian:13", "glibc", [{"introduced": "0"}])], True),
        (LIBC, [("Debian:13", "glibc", [{"introduced": "0"}, {"fixed": "2.41-12"}])], False),
        (LIBC, [("Debian:13", "glibc", [{"introduced": "0"}, {"fixed": "2.41-12+deb13u2"}])], True),
        (LIBC, [("Debian:12", "glibc", [{"introduced": "0"}])], False),
    ],
)
def test_a_known_vulnerability_is_found(
    package: Package,
    affected: list[tuple[str, str, list[dict[str, str]]]],
    is_found: bool,  # noqa: FBT001 - a column of the table
    tmp_path: Path,
) -> None:
    entry = {
        "id": "CVE-1",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
            for ecosystem, name, events in affected
        ],
    }
    (tmp_path / "CVE-1.json").write_text(json.dumps(entry))
    assert [finding.split()[2] for finding in findings([package], tmp_path)] == ["CVE-1"] * is_found


def test_a_version_may_be_listed_as_affected(tmp_path: Path) -> None:
    affected = {"package": {"ecosystem": "PyPI", "name": "h11"}, "versions": ["0.16.0"]}
    (tmp_path / "CVE-1.json").write_text(json.dumps({"id": "CVE-1", "affected": [affected]}))
    assert list(findings([H11], tmp_path)) == ["h11 0.16.0: CVE-1 "]


def test_what_is_withdrawn_is_no_vulnerability(tmp_path: Path) -> None:
    entry = {
        "id": "CVE-1",
        "withdrawn": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "h11"}, "versions": ["0.16.0"]}],
    }
    (tmp_path / "CVE-1.json").write_text(json.dumps(entry))
    assert list(findings([H11], tmp_path)) == []


def test_an_audit_against_nothing_is_none(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no vulnerabilities"):
        list(findings([H11], tmp_path))
