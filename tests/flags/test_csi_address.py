import pytest

from livenessprobe.flags.csi_address import socket_path


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/csi/csi.sock", "/csi/csi.sock"),
        ("unix:///csi/csi.sock", "/csi/csi.sock"),
        ("unix:/csi/csi.sock", "/csi/csi.sock"),
        ("UNIX:///csi/csi.sock", "/csi/csi.sock"),
        ("csi.sock", "csi.sock"),
        ("./csi.sock", "./csi.sock"),
        ("unix:csi/csi.sock", "csi/csi.sock"),
        ("unix:./csi.sock", "./csi.sock"),
        ("/csi/a:b@c\\d.sock", "/csi/a:b@c\\d.sock"),
        ("./a:b", "./a:b"),
        ("//csi.sock", "//csi.sock"),
        ("unix:////csi.sock", "//csi.sock"),
        ("unix:///" + "x" * 106, "/" + "x" * 106),
        ("unix:" + "é" * 53 + "x", "é" * 53 + "x"),
        ("/csi/\udcff.sock", "/csi/\udcff.sock"),
    ],
)
def test_the_path_of_a_socket_address(address: str, path: str) -> None:
    assert socket_path(address) == path


HINT = "give the path of the CSI driver's socket, such as /csi/csi.sock"
NO_SOCKET = f"names no socket: {HINT}"
WINDOWS = f"is a Windows path, and this is Linux: {HINT}"
NO_UNIX = f"is not the address of a UNIX socket: {HINT}"
NUL = f"holds a NUL byte, which no path can: {HINT}"
HOST = "has no slash after unix://: write unix:///path or unix:relative/path"
ABSTRACT = f"is an abstract socket, which has no file: {HINT}"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", NO_SOCKET),
        ("/", NO_SOCKET),
        ("unix:", NO_SOCKET),
        ("unix://", NO_SOCKET),
        ("unix:///", NO_SOCKET),
        (r"unix://C:\csi\csi.sock", WINDOWS),
        (r"unix://C:\\csi\\csi.sock", WINDOWS),
        (r"unix:///C:\csi\csi.sock", WINDOWS),
        ("unix://c:/csi/csi.sock", WINDOWS),
        (r"C:\csi\csi.sock", WINDOWS),
        ("/csi\0.sock", NUL),
        ("tcp://10.0.0.1:10000", NO_UNIX),
        ("http://localhost/", NO_UNIX),
        ("dns:localhost:10000", NO_UNIX),
        ("dns:///localhost:10000", NO_UNIX),
        ("unix-abstract:csi", NO_UNIX),
        ("127.0.0.1:10000", NO_UNIX),
        (":10000", NO_UNIX),
        ("npipe://./pipe/csi", NO_UNIX),
        ("unix://csi.sock", HOST),
        ("unix://./csi.sock", HOST),
        ("unix://csi/csi.sock", HOST),
        ("@csi", ABSTRACT),
        ("unix:@csi", ABSTRACT),
    ],
)
def test_an_address_that_is_not_a_unix_socket_is_an_error_with_advice(
    address: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        socket_path(address)
    assert str(caught.value) == reason


@pytest.mark.parametrize("path", ["/" + "x" * 107, "é" * 54])
def test_a_socket_path_has_at_most_107_bytes(path: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        socket_path(f"unix:{path}")
    assert str(caught.value) == (
        "is a path of 108 bytes, and a UNIX socket's has at most 107: "
        "mount the socket's folder at a shorter path"
    )
