#!/usr/bin/env python3
"""A cargo that builds nothing: where maturin asks it for a program, it names the one that is built already.

CARGO=python/tests/as_built.py ZEST_TEST_BUILT=target/debug maturin build
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    cargo, arguments = os.environ.get("ZEST_TEST_CARGO", "cargo"), sys.argv[1:]
    if arguments[:1] not in (["rustc"], ["build"]):
        return subprocess.run([cargo, *arguments], check=False).returncode
    manifest = arguments[arguments.index("--manifest-path") + 1]
    metadata = subprocess.run(
        [cargo, "metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", manifest],
        check=True,
        stdout=subprocess.PIPE,
    )
    package = next(
        package
        for package in json.loads(metadata.stdout)["packages"]
        if Path(package["manifest_path"]).resolve() == Path(manifest).resolve()
    )
    names = [arguments[at + 1] for at, argument in enumerate(arguments) if argument == "--bin"]
    for target in package["targets"]:
        if target["kind"] == ["bin"] and (not names or target["name"] in names):
            path = str(Path(os.environ["ZEST_TEST_BUILT"], target["name"]).resolve())
            message = {
                "reason": "compiler-artifact",
                "package_id": package["id"],
                "manifest_path": package["manifest_path"],
                "target": target,
                "profile": {"opt_level": "0", "debuginfo": 0, "debug_assertions": True, "overflow_checks": True, "test": False},
                "features": [],
                "filenames": [path],
                "executable": path,
                "fresh": True,
            }
            print(json.dumps(message))
    print(json.dumps({"reason": "build-finished", "success": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
