"""deploy/kustomize applied by kubectl to manifests of the shapes that drivers publish."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

import livenessprobe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "deploy" / "kustomize"
SHAPES = Path(__file__).parent / "shapes"
KUBECTL = Path(sys.executable).with_name("kubectl")

OURS = f"registry.example.com/livenessprobe:{livenessprobe.__version__}"

# What YAML makes of a manifest.
Document = dict[str, Any]

Place = tuple[str, str]
"""A workload's name and a container's."""


def kustomize(folder: Path, documents: Sequence[Document], **more: Any) -> list[Document]:
    """Apply the component to the documents, with `more` in their kustomization."""
    (folder / "driver.yaml").write_text(yaml.dump_all(documents, Dumper=yaml.CSafeDumper))
    kustomization = {
        "resources": ["driver.yaml"],
        "components": [os.path.relpath(COMPONENT, folder)],
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run(  # noqa: S603 - of the development environment
        [KUBECTL, "kustomize", folder], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def shape(name: str) -> list[Document]:
    return list(yaml.safe_load_all((SHAPES / f"{name}.yaml").read_text()))


def flat(documents: Sequence[Document]) -> Iterator[Document]:
    """The documents, with the items of a list in its place."""
    for document in documents:
        yield from document["items"] if document["kind"] == "List" else [document]


def images(documents: Sequence[Document]) -> dict[Place, str]:
    return {
        (document["metadata"]["name"], container["name"]): container["image"]
        for document in flat(documents)
        for container in containers(document)
    }


def commands(documents: Sequence[Document], *, image: str) -> list[list[str]]:
    """The commands of the containers that have this image."""
    return [
        container["command"]
        for document in flat(documents)
        for container in containers(document)
        if container["image"] == image
    ]


def containers(document: Document) -> list[Document]:
    pod = pod_of(document)
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def pod_of(document: Document) -> Document:
    spec = document["spec"]
    pod: Document = spec.get("template", {}).get("spec", spec)
    return pod


def without_images(documents: Sequence[Document]) -> list[Document]:
    """All else in the documents, in an order that is not kustomize's."""
    copies = copy.deepcopy(list(flat(documents)))
    for document in copies:
        for container in containers(document):
            del container["image"]
        pod_of(document).get("containers", []).sort(key=itemgetter("name"))
    return sorted(copies, key=lambda each: (each["kind"], each["metadata"]["name"]))


PUBLISHED: list[tuple[str, set[Place]]] = [
    ("daemonset", {("node", "liveness-probe")}),
    ("deployment", {("controller", "csi-liveness-probe")}),
    ("list", {("disk", "liveness-probe"), ("disk-node", "liveness-probe")}),
    ("mirror", set()),
    ("no_tag", {("bare", "livenessprobe")}),
    ("one_image", set()),
    ("one_image_on_path", set()),
    ("statefulset", {("old", "liveness-probe")}),
    ("two_sidecars", {("share", "nfs-liveness-probe"), ("share", "share-liveness-probe")}),
]


@pytest.mark.parametrize(("name", "sidecars"), PUBLISHED)
def test_sidecars_under_a_published_name_get_our_image_and_nothing_else_changes(
    tmp_path: Path, name: str, sidecars: set[Place]
) -> None:
    before = shape(name)
    after = kustomize(tmp_path, before)
    assert images(after) == images(before) | dict.fromkeys(sidecars, OURS)
    assert without_images(after) == without_images(before)
    for document in after:
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_every_shape_is_applied() -> None:
    assert {name for name, _ in PUBLISHED} == {path.stem for path in SHAPES.iterdir()}


def test_a_registry_and_a_mirror_of_ones_own(tmp_path: Path) -> None:
    """As the component's own comment says."""
    before = shape("mirror") + shape("daemonset")
    mine = "registry.example.net/csi/livenessprobe"
    renamed = [
        {"name": "registry.example.com/livenessprobe", "newName": mine},
        {
            "name": "localhost:5000/vendor/csi-livenessprobe",
            "newName": mine,
            "newTag": livenessprobe.__version__,
        },
    ]
    after = kustomize(tmp_path, before, images=renamed)
    sidecars = {("mirrored", "csi-probe"), ("node", "liveness-probe")}
    assert images(after) == images(before) | dict.fromkeys(
        sidecars, f"{mine}:{livenessprobe.__version__}"
    )
    assert without_images(after) == without_images(before)


@pytest.mark.parametrize(
    ("name", "program"), [("one_image", "/livenessprobe"), ("one_image_on_path", "livenessprobe")]
)
def test_one_image_for_all_containers_takes_the_readmes_patch(
    tmp_path: Path, name: str, program: str
) -> None:
    readme = (ROOT / "deploy" / "README.md").read_text()
    (snippet,) = re.findall(r"```yaml\n(patches:.*?)```", readme, re.DOTALL)
    before = shape(name)
    after = kustomize(tmp_path, before, **yaml.safe_load(snippet))
    # tests/image/test_run.py has the image found by either name.
    assert [command[0] for command in commands(after, image=OURS)] == [program]
    assert images(after) == images(before) | {("all-in-one", "liveness-probe"): OURS}
    assert without_images(after) == without_images(before)


CORPUS = ROOT.parent / "shared" / "corpus" / "manifests.jsonl"

# What a chart or a person would have to fill in is no name of an image.
NAME = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+")


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the repository")
def test_public_manifests(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    before = [
        deployment(f"driver-{number}", row)
        for number, row in enumerate(rows)
        if re.match(NAME, row["image"] or "")
    ]
    after = kustomize(tmp_path, before)
    assert without_images(after) == without_images(before)

    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    names = {image["name"] for image in component["images"]}
    old, new = images(before), images(after)
    found = {re.split("[:@]", image)[0] for image in old.values()}
    swapped = {place for place, image in old.items() if re.split("[:@]", image)[0] in names}
    assert names <= found
    assert new == old | dict.fromkeys(swapped, OURS)
    assert len(swapped) > len(before) / 2


def deployment(name: str, row: Mapping[str, Any]) -> Document:
    """A manifest with what is known of one in the corpus."""
    labels = {"app": name}
    fields = ("image", "command", "args", "ports", "resources", "securityContext")
    sidecar = {field: row[field] for field in fields if row[field]}
    env = [{"name": key, "value": value} for key, value in row["env"].items()]
    pod = {
        "hostNetwork": bool(row["hostNetwork"]),
        "containers": [
            {"name": "driver", "image": f"registry.example.org/{row['driver']}:v1"},
            sidecar | {"name": row["container"], "env": env},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
