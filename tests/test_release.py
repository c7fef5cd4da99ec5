"""Checks that versions, packages and the release workflow agree."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import livenessprobe
from tests.image.build import PLATFORMS

ROOT = Path(__file__).parents[1]
VERSION = livenessprobe.__version__

Workflow = dict[Any, Any]
Step = dict[str, Any]


def test_every_file_that_names_the_version_names_this_one() -> None:
    deploy = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".md", ".yaml"}]
    named = {
        (path.name, version)
        for path in [ROOT / "README.md", ROOT / "Containerfile", *deploy]
        for version in re.findall(
            r'(?:livenessprobe:|image\.version="|newTag: )([0-9.]*\d)', path.read_text()
        )
    }
    assert {version for _, version in named} == {VERSION}
    assert {"README.md", "Containerfile", "kustomization.yaml"} <= {name for name, _ in named}


def build(source: Path, into: Path, *targets: str) -> None:
    hatchling = Path(sys.executable).with_name("hatchling")
    subprocess.run(  # noqa: S603 - of the development environment
        [hatchling, "build", "--directory", into, *targets], check=True, cwd=source
    )


def test_tree_and_source_distribution_make_the_same_wheel(tmp_path: Path) -> None:
    build(ROOT, tmp_path)
    name = f"livenessprobe-{VERSION}"
    with tarfile.open(tmp_path / f"{name}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    build(tmp_path / name, tmp_path / "again", "--target=wheel")
    wheels = [folder / f"{name}-py3-none-any.whl" for folder in (tmp_path, tmp_path / "again")]
    assert len({hashlib.sha256(wheel.read_bytes()).digest() for wheel in wheels}) == 1

    with zipfile.ZipFile(wheels[0]) as wheel:
        packed = set(wheel.namelist())
    assert f"{name}.dist-info/licenses/LICENSE" in packed
    assert {file for file in packed if ".dist-info/" not in file} == {
        str(path.relative_to(ROOT))
        for package in ("livenessprobe", "generated")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


@pytest.fixture
def workflow() -> Workflow:
    text = (ROOT / ".github" / "workflows" / "release.yaml").read_text()
    workflow: Workflow = yaml.safe_load(text)
    return workflow


def steps(workflow: Workflow) -> list[Step]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def scripts(workflow: Workflow) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def shell(script: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the workflow as GitHub's runner does."""
    return subprocess.run(  # noqa: S603 - our own
        ["/bin/bash", "-eo", "pipefail", *options, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=env,
    )


def test_only_a_tag_makes_a_release(workflow: Workflow) -> None:
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML's `on` is true


def test_only_the_job_that_pushes_images_may_write_and_only_packages(workflow: Workflow) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        pushes = any(re.search("podman .*push", step.get("run", "")) for step in job["steps"])
        permissions = job.get("permissions", {})
        assert ("packages" in permissions) == pushes
        assert {*permissions.items()} <= {("contents", "read"), ("packages", "write")}


def test_every_script_is_one_of_bash(workflow: Workflow) -> None:
    for script in scripts(workflow):
        assert shell(script, "-n").stderr == ""


def test_every_platform_is_built_and_joined(workflow: Workflow) -> None:
    jobs = workflow["jobs"]
    built = jobs["image"]["strategy"]["matrix"]["include"]
    (joined,) = (script for script in scripts(workflow) if "manifest create" in script)
    (create,) = re.findall("podman manifest create (.*)", joined)
    names = shell(f"echo {create}", IMAGE="i")
    assert names.stdout.split() == ["i", *(f"docker://i-{each['suffix']}" for each in built)]
    assert {each["platform"] for each in built} == PLATFORMS.keys()
    assert set(jobs["index"]["needs"]) == {"check", "image"}
    assert jobs["image"]["needs"] == "check"


def test_every_make_target_of_the_workflow_exists(workflow: Workflow) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (called,) = (
        script.split()[2:] for script in scripts(workflow) if script.startswith("sudo make")
    )
    for target in called:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(("tag", "right"), [(f"v{VERSION}", True), ("v99.0.0", False)])
def test_a_tag_that_is_not_the_version_fails(workflow: Workflow, tag: str, *, right: bool) -> None:
    (script,) = (script for script in scripts(workflow) if "__version__" in script)
    assert (shell(script, GITHUB_REF_NAME=tag).returncode == 0) == right


def test_the_images_name(workflow: Workflow, tmp_path: Path) -> None:
    (step,) = (step for step in steps(workflow) if step.get("id") == "name")
    output = tmp_path / "output"
    shell(
        step["run"],
        GITHUB_OUTPUT=str(output),
        GITHUB_REPOSITORY="Example/LivenessProbe",
        GITHUB_REF_NAME="v1.2.3",
    )
    assert output.read_text() == "image=ghcr.io/example/livenessprobe:1.2.3\n"
