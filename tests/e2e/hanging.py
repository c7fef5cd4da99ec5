"""Runs the sidecar with a file system that hangs: `python hanging.py DIRECTORY [flags]`.

A FUSE file system without a server is mounted at the directory. This needs a mount namespace of its
own; if mounting is not allowed, "cannot mount" is printed.
"""

import os
import subprocess
import sys


def main() -> None:
    directory, *flags = sys.argv[1:]
    try:
        fuse = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        sys.exit(f"cannot mount: {error}")
    os.set_inheritable(fuse, True)  # noqa: FBT003 - os.set_inheritable's signature
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
    mount = ["mount", "-i", "-t", "fuse", "-o", options, "none", directory]
    done = subprocess.run(  # noqa: S603 - a fixed command
        mount, pass_fds=[fuse], check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"cannot mount: {done.stderr}")
    os.execv(sys.executable, [sys.executable, "-m", "livenessprobe", *flags])  # noqa: S606 - ours


if __name__ == "__main__":
    main()
