"""``python -m zest …`` is ``zest …``."""

from __future__ import annotations

import os
import subprocess
import sys

from zest._errors import DaemonError
from zest._find import find_zest_bin


def main() -> int:
    """Runs the zest program with this process's arguments, in its place where the system can do that.

    Returns:
        Its exit code; 127 if there is no such program.
    """
    try:
        program = find_zest_bin()
    except DaemonError as error:
        sys.stderr.write(f"error: {error}\n")
        return 127
    arguments = [program, *sys.argv[1:]]
    if sys.platform != "win32":
        os.execv(program, arguments)
    return subprocess.run(arguments, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
