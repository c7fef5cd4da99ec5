"""`python -m tests.instructions`: count, and record the numbers for this Python."""

import sys

from tests.instructions.expected import record
from tests.instructions.measure import measure


def main() -> None:
    instructions = measure()
    record(instructions)
    sys.stdout.write(f"{instructions}\n")


if __name__ == "__main__":
    main()
