"""The image's bill of materials, CycloneDX in JSON: `python -m tests.image.sbom > FILE`."""

import sys
import uuid
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from livenessprobe import __version__
from tests.image.build import IMAGE, podman
from tests.image.packages import Package, mounted, packages

LICENCES = LicenseFactory()


def sbom() -> str:
    """Return the bill of the image that was built last: for one image always the same."""
    identity, created = podman(
        "image", "inspect", "--format={{.Id}} {{.Created.Unix}}", IMAGE
    ).split()
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, identity))
    bom.metadata.timestamp = datetime.fromtimestamp(int(created), UTC)
    image = Component(
        type=ComponentType.CONTAINER,
        bom_ref="livenessprobe",
        name="livenessprobe",
        version=__version__,
        licenses=[LICENCES.make_with_id("Apache-2.0")],
    )
    bom.metadata.component = image
    with mounted() as root:
        components = [_component(package) for package in packages(root)]
    bom.components.update(components)
    bom.register_dependency(image, components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _component(package: Package) -> Component:
    url = PackageURL(
        type=package.kind,
        namespace="debian" if package.kind == "deb" else None,
        name=package.name,
        version=package.version,
        # By the source do Debian's advisories name it.
        qualifiers={"distro": "debian-13", "upstream": package.source}
        if package.kind == "deb"
        else None,
    )
    make = LICENCES.make_with_name if package.kind == "deb" else LICENCES.make_from_string
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        name=package.name,
        version=package.version,
        purl=url,
        licenses=[make(licence) for licence in package.licences],
    )


if __name__ == "__main__":
    sys.stdout.write(f"{sbom()}\n")
