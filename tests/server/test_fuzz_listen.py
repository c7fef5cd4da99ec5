"""Whatever stands for a listen address: it is listened on, or refused as documented."""

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livenessprobe.server.listen import ListenError, open_listeners
from tests.server.test_listen import Names

# What an argument can hold: no NUL, but bytes that are not UTF-8.
UTF_8 = st.characters(codec="utf-8", exclude_characters="\0")
ANYTHING = st.text(UTF_8 | st.just("\udcff"), max_size=20)
# Names are not asked for here, but "0x7f.1" is an address too.
HOSTS = st.sampled_from(
    ["", "127.0.0.1", "[::1]", "::1", "[127.0.0.1]", "[::ffff:127.0.0.1]", "240.0.0.1", "127.1"]
)
PORTS = st.sampled_from(["", "0", "00", "-0", "65535", "65536", "http"]) | st.integers().map(str)
ADDRESSES = (
    ANYTHING
    | st.text("[]:0.\n", max_size=8)
    | st.builds("{}:{}".format, HOSTS, PORTS | ANYTHING)
    | st.builds("{}:0".format, st.text("0127.x:[]%f-", max_size=12) | ANYTHING)
)


@settings(max_examples=400)
@given(address=ADDRESSES)
@example(":\udcff")
@example("\udcff:0")
def test_any_address_is_listened_on_or_refused(address: str) -> None:
    refusal = trio.run(refusal_of, address)
    assert refusal is None or refusal.startswith("listen tcp")


async def refusal_of(address: str) -> str | None:
    trio.socket.set_custom_hostname_resolver(Names())
    try:
        listeners = await open_listeners(address)
    except ListenError as refusal:
        return str(refusal)
    assert listeners
    _, _, port = address.rpartition(":")
    if port.isdecimal() and int(port):
        assert {listener.getsockname()[1] for listener in listeners} == {int(port)}
    for listener in listeners:
        listener.close()
    return None
