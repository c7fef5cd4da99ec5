"""The demo driver as the driver's container of a pod: the image's own interpreter runs this."""

import asyncio
import sys
from pathlib import Path

sys.path.append("/opt/livenessprobe")

from livenessprobe.demo import DemoDriver


async def serve(path: Path) -> None:
    await DemoDriver(path).set_mode("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.unlink(missing_ok=True)  # a killed one left it there
    asyncio.run(serve(path))
