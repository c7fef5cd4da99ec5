"""Which file a socket path leads to. A driver that starts again makes a new one."""

from pathlib import Path

_NO_FILE = ()


class SocketFile:
    """The file at `path`, now and when it was last noted."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._noted: tuple[int, ...] | None = None

    def note(self) -> None:
        """Remember which file is there. May be called from another thread."""
        self._noted = self._identity()

    def changed(self) -> bool:
        """Return whether there is a file now, and another one than when it was last noted."""
        return self._noted is not None and self._identity() not in (_NO_FILE, self._noted)

    def _identity(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return _NO_FILE
        # Some file systems give the inode number of a removed file to the next one at once. The
        # time is when the socket was bound; a change of its owner or mode leaves it alone.
        return status.st_dev, status.st_ino, status.st_mtime_ns
