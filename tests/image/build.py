"""Build the image where no registry and no container engine is: `python -m tests.image.build`.

The Containerfile is used as it is. Its base image is made of Debian's packages under the name that
the file has for it, once for each tree, from where this machine has Debian's packages.

The environment variable PLATFORM may name another platform than the machine's: linux/arm64, say.
All of it then runs under emulation, which needs Debian's qemu-user-static, registered with the
kernel's binfmt_misc. Each platform has a storage of its own below build/image.

A build gets the time of the last commit as its own, so that each build of one commit makes the same
layers, as long as Debian's packages are the same.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TREE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What one is called elsewhere."""

    machine: str
    """By the kernel."""
    debian: str


PLATFORMS = {
    "linux/amd64": Platform(machine="x86_64", debian="amd64"),
    "linux/arm64": Platform(machine="aarch64", debian="arm64"),
    "linux/arm/v7": Platform(machine="armv7l", debian="armhf"),
    "linux/ppc64le": Platform(machine="ppc64le", debian="ppc64el"),
    "linux/s390x": Platform(machine="s390x", debian="s390x"),
}
PLATFORM = os.environ.get("PLATFORM") or next(
    (name for name, each in PLATFORMS.items() if each.machine == os.uname().machine), "linux/amd64"
)

STORE = TREE / "build" / "image" / PLATFORM.replace("/", "-")

IMAGE = "localhost/livenessprobe:latest"
BASE = "docker.io/library/debian:trixie-slim"

# Copies in place of mounts, and the host's network: they work in a container and as any root. The
# limits are those that no machine is below; podman would ask for a million.
CONFIG = {
    "storage.conf": f"""\
[storage]
driver = "vfs"
graphroot = "{STORE}/graph"
runroot = "{STORE}/run"
""",
    "containers.conf": """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
""",
}

# The certificates that this machine trusts, and where the build has them. A machine behind a proxy
# reaches the package index by no others.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_CERTIFICATES = "/run/ca-certificates.crt"


@cache
def environment() -> dict[str, str]:
    """Return the variables by which podman and buildah keep to `STORE`."""
    STORE.mkdir(parents=True, exist_ok=True)
    for name, text in CONFIG.items():
        (STORE / name).write_text(text)
    return {
        "CONTAINERS_STORAGE_CONF": f"{STORE}/storage.conf",
        "CONTAINERS_CONF": f"{STORE}/containers.conf",
    }


def tool(name: str) -> str:
    """Return the path of a tool that Debian has a package of by the same name."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"needs {name}: apt-get install {name}")
    return path


def run_podman(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run podman to its end, whatever that is."""
    return subprocess.run(  # noqa: S603 - our own arguments
        [tool("podman"), *arguments],
        env=os.environ | environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def podman(*arguments: str | Path) -> str:
    """Run podman, which has to succeed; return what it writes to stdout."""
    ended = run_podman(*arguments)
    if ended.returncode:
        raise RuntimeError(f"podman {arguments[0]} failed: {ended.stderr}")
    return ended.stdout.strip()


def make_base() -> None:
    """Make the base image unless it is there."""
    if PLATFORM not in PLATFORMS:
        raise SystemExit(f"PLATFORM={PLATFORM} is none of {', '.join(PLATFORMS)}")
    if podman("images", "--quiet", BASE):
        return
    root = STORE / "base"
    shutil.rmtree(root, ignore_errors=True)
    kind = (f"--arch={PLATFORMS[PLATFORM].debian}", "--variant=minbase")
    _run(tool("debootstrap"), *kind, "trixie", root, *_mirrors("Debian"))
    _add_suites(root / "etc/apt/sources.list")
    # As in Debian's own image: a build that fails starts anew, so nothing has to reach the disk;
    # and nobody reads descriptions in a language.
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    (root / "etc/apt/apt.conf.d/no-languages").write_text('Acquire::Languages "none";\n')
    for unneeded in ("var/cache/apt", "var/lib/apt/lists", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(root / unneeded)
    archive = STORE / "base.tar"
    _run(tool("tar"), "--create", f"--file={archive}", f"--directory={root}", ".")
    podman("import", "--quiet", *_architecture(), archive, BASE)
    archive.unlink()
    shutil.rmtree(root)


def _add_suites(sources: Path) -> None:
    """Add the suites that Debian's own image has beside trixie, to the one line that is there."""
    _, archive, *_ = sources.read_text().split()
    # Where nothing is known of it, it is beside the archive, as Debian itself has it.
    (security,) = _mirrors("Debian-Security") or [f"{archive.rstrip('/')}-security"]
    with sources.open("a") as lines:
        lines.write(f"deb {archive} trixie-updates main\n")
        lines.write(f"deb {security} trixie-security main\n")


def _mirrors(label: str) -> list[str]:
    """Return where this machine's apt has Debian's packages from, if it has any by this label."""
    targets = (tool("apt-get"), "indextargets", "--format=$(REPO_URI)")
    listed = subprocess.run(  # noqa: S603 - our own arguments
        [*targets, "Created-By: Packages", f"Label: {label}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return listed.stdout.split()[:1]


def _architecture() -> list[str]:
    """Return podman's options for the platform, of which `import` takes only the parts."""
    _, architecture, *variant = PLATFORM.split("/")
    return [f"--arch={architecture}", *(f"--variant={name}" for name in variant)]


def build(image: str = IMAGE) -> None:
    """Build the image from this tree."""
    make_base()
    git: list[str | Path] = [tool("git"), "-C", TREE, "log", "-1", "--format=%ct"]
    committed = subprocess.run(git, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()  # noqa: S603 - our own arguments
    _run(
        *(tool("buildah"), "build", "--isolation=chroot", "--no-cache"),
        *(f"--platform={PLATFORM}", f"--timestamp={committed}", f"--tag={image}"),
        *_package_index(),
        TREE,
    )
    podman("image", "prune", "--force")  # what had the name before


def _package_index() -> list[str]:
    """Let pip in the build reach the package index as pip on this machine does."""
    config = STORE / "pip.conf"
    config.write_text("[global]\n")
    volumes = [f"--volume={config}:/etc/pip.conf:ro"]
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,  # it fails where none is configured
    ).stdout
    with config.open("a") as lines:
        if index:
            lines.write(f"index-url = {index}")
        if CERTIFICATES.exists():
            volumes.append(f"--volume={CERTIFICATES}:{BUILD_CERTIFICATES}:ro")
            lines.write(f"cert = {BUILD_CERTIFICATES}\n")
    return volumes


def _run(*command: str | Path) -> None:
    """Run it, with what it says in a file, which is told of where it fails."""
    log = STORE / f"{Path(command[0]).name}.log"
    with log.open("w") as lines:
        code = subprocess.run(  # noqa: S603 - our own commands
            command, env=os.environ | environment(), stdout=lines, stderr=lines, check=False
        ).returncode
    if code:
        raise RuntimeError(f"{command[0]} failed, see {log}: {log.read_text()[-2000:]}")


if __name__ == "__main__":
    build()
