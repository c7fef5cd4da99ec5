"""Detects that the socket file was replaced, which a driver does when it restarts."""

from pathlib import Path

_NO_FILE = ()


class SocketFile:
    """The file at `path`, compared with the one that was last noted. Its methods may block."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._noted: tuple[int, ...] | None = None
        self._reported: tuple[int, ...] = _NO_FILE
        self._missed = False

    def note(self) -> None:
        """Record which file is there now, or that none is. May be called in any thread."""
        identity = self._identity()
        if self._noted and identity not in (_NO_FILE, self._noted, self._reported):
            self._missed = True
        self._noted = identity

    def changed(self) -> bool:
        """Return whether there is a file, and not the one that was noted last.

        Also True, once, if `note` was the first to see that file.
        """
        if self._missed:
            self._missed = False
            return True
        identity = self._identity()
        if self._noted is None or identity in (_NO_FILE, self._noted):
            return False
        self._reported = identity
        return True

    def _identity(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return _NO_FILE
        # Some file systems reuse the inode number of a removed file at once. The modification
        # time of a socket is when it was bound; chown and chmod do not change it.
        return status.st_dev, status.st_ino, status.st_mtime_ns
