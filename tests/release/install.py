"""Install what a release consists of as its users do, and see it answer.

    python3.13 tests/release/install.py build/dist

With the Python that runs this, and nothing but its standard library: wheel and source distribution,
one after the other, in a new virtual environment, beside the locked dependencies.
"""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

LOCK = Path(__file__).absolute().parents[2] / "requirements.lock"

PIP = ("python", "-m", "pip", "--disable-pip-version-check", "-qq")

TIMEOUT = 30
"""Seconds until the program has to be up and well."""


def main(dist: Path) -> None:
    with TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        place = Path(directory)
        run(place, *PIP, "install", "--require-hashes", f"--requirement={LOCK}")
        for kind in ("whl", "tar.gz"):
            (package,) = dist.absolute().glob(f"*.{kind}")
            run(place, *PIP, "install", "--no-deps", "--force-reinstall", package)
            try_out(place, package.name)
            sys.stdout.write(f"{package.name} works with Python {sys.version.split()[0]}\n")


def try_out(place: Path, name: str) -> None:
    run(place, *PIP, "check")
    version = run(place, "python", "-c", "import livenessprobe as l; print(l.__version__)").strip()
    assert re.match(rf"livenessprobe-{re.escape(version)}[.-]", name), version
    assert run(place, "livenessprobe", "--help").startswith("Usage of livenessprobe:")
    ask_the_demo(place)


def run(place: Path, *command: str | Path) -> str:
    """Run a command of the environment at `place`; return what it writes."""
    return subprocess.run(  # noqa: S603 - of the environment
        [place / "bin" / command[0], *command[1:]],
        check=True,
        cwd=place,  # and so nothing is imported from the tree
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def ask_the_demo(place: Path) -> None:
    """See a healthy driver through the program, as `make run` starts both."""
    with subprocess.Popen(  # noqa: S603 - of the environment
        [place / "bin" / "python", "-m", "livenessprobe.demo", "--http-endpoint=127.0.0.1:0"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        try:
            wait_for_health(f"http://{listener(demo.stderr)}/healthz")
        finally:
            demo.terminate()
    assert demo.returncode == 0


def listener(log: Iterable[str]) -> str:
    """Return the address that the log tells of; show the log up to there."""
    for line in log:
        sys.stderr.write(line)
        if found := re.search(r'address="(127\.0\.0\.1:\d+)"', line):
            return found[1]
    raise SystemExit("the program ended before it listened")


def wait_for_health(url: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - ours
                assert response.read() == b"ok"
                return
        except urllib.error.HTTPError as unhealthy:  # not asked yet
            if time.monotonic() > deadline:
                raise
            unhealthy.close()
            time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
