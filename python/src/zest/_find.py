"""Where the zest program is."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from zest._errors import DaemonError

_NAME = "zest.exe" if sys.platform == "win32" else "zest"


def find_zest_bin() -> str:
    """The zest program that came with this package, else the one on ``PATH``.

    ``ZEST_BIN`` in the environment names another one.

    Returns:
        Its absolute path.

    Raises:
        DaemonError: There is none.
    """
    named = os.environ.get("ZEST_BIN")
    if named:
        if _is_program(named):
            return os.path.abspath(named)
        raise DaemonError(f"ZEST_BIN is {named}, which is no program")
    for folder in _folders():
        path = os.path.join(folder, _NAME)
        if _is_program(path):
            return os.path.abspath(path)
    found = shutil.which("zest")
    if found:
        return os.path.abspath(found)
    raise DaemonError("the zest program is not there", hint="pip install --force-reinstall zest-transfer, or set ZEST_BIN")


def _folders() -> list[str]:
    """Where installers put programs: the environment's, the user's, and those beside a ``--target`` folder."""
    folders = [sysconfig.get_path("scripts")]
    user = "nt_user" if sys.platform == "win32" else "posix_user"
    if sys.platform == "darwin" and sysconfig.get_config_var("PYTHONFRAMEWORK"):
        user = "osx_framework_user"
    if user in sysconfig.get_scheme_names():
        folders.append(sysconfig.get_path("scripts", scheme=user))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders.append(os.path.join(root, "bin"))
    # An environment whose interpreter is another one's: LIB/pythonX.Y/site-packages or LIB/site-packages.
    for up in (3, 2):
        parts = [os.pardir] * up
        folders.append(os.path.normpath(os.path.join(root, *parts, "Scripts" if sys.platform == "win32" else "bin")))
    return folders


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
