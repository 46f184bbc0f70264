"""What a wheel has to bring.

python python/tests/contents.py [--development] WHEEL...
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import struct
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

# What a wheel may weigh, bytes.
BYTES_MAX = 12 << 20

# elf.h: sections with symbols and with lines of the source.
_SHT_SYMTAB = 2


def problems(path: Path, development: bool = False) -> list[str]:
    """What is wrong with a wheel; one with programs that were built for tests may be large."""
    found = []
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        name = "-".join(path.name.split("-")[:2])
        info, data = f"{name}.dist-info", f"{name}.data"
        suffix = ".exe" if "win" in path.name.split("-")[-1] else ""
        programs = [f"{data}/scripts/zest{suffix}", f"{data}/scripts/zest-seed{suffix}"]
        wanted = ["zest/__init__.py", "zest/py.typed", f"{data}/purelib/zest.pth", f"{data}/purelib/zest.start", *programs]
        wanted += [f"{info}/{file}" for file in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")]
        found += [f"lacks {file}" for file in wanted if file not in names]
        if found:
            return found
        found += [f"has {name}" for name in names if "__pycache__" in name or name.startswith(("tests/", "python/"))]

        # Who is in the programs, and by which licence.
        boms = [file for file in names if file.startswith(f"{info}/sboms/")]
        crates = {
            part["name"]: part.get("licenses") for file in boms for part in json.loads(wheel.read(file)).get("components", [])
        }
        if not {"tokio", "blake3", "zest-core"} <= set(crates):
            found.append(f"its bills of materials {boms} name {len(crates)} crates")
        found += [f"{crate} has no licence in the bill of materials" for crate, licences in crates.items() if not licences]

        metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
        for key, value in (("Requires-Python", ">=3.9"), ("License-Expression", "MIT"), ("License-File", "LICENSE")):
            if metadata[key] != value:
                found.append(f"{key} is {metadata[key]}")
        if metadata["Requires-Dist"]:
            found.append(f"needs {metadata['Requires-Dist']}")
        entries = wheel.read(f"{info}/entry_points.txt").decode().replace(" ", "")
        if "[vllm.general_plugins]\nzest=zest._plugin:register" not in entries:
            found.append("vLLM finds no plug-in")
        tags = Parser().parsestr(wheel.read(f"{info}/WHEEL").decode()).get_all("Tag") or []
        found += [f"is for one Python: {tag}" for tag in tags if not tag.startswith("py3-none-")]

        recorded = {row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(f"{info}/RECORD").decode()))}
        for file in names:
            if file.endswith(("/", "/RECORD")):
                continue
            digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(file)).digest()).decode().rstrip("=")
            if recorded.get(file) != f"sha256={digest}":
                found.append(f"{file} is not what RECORD says")
        for program in programs:
            if wheel.getinfo(program).external_attr >> 16 & 0o111 == 0 and not suffix:
                found.append(f"{program} is not executable")
            if not development and _has_symbols(wheel.read(program)):
                found.append(f"{program} is not stripped")
    if not development and path.stat().st_size > BYTES_MAX:
        found.append(f"has {path.stat().st_size} bytes, not at most {BYTES_MAX}")
    return found


def _has_symbols(program: bytes) -> bool:
    """Whether an ELF program of 64 bits has a table of symbols; others are not looked at."""
    if program[:5] != b"\x7fELF\x02":
        return False
    (sections,) = struct.unpack_from("<Q", program, 0x28)
    size, count = struct.unpack_from("<HH", program, 0x3A)
    return any(struct.unpack_from("<I", program, sections + number * size + 4)[0] == _SHT_SYMTAB for number in range(count))


def main() -> int:
    wheels = [argument for argument in sys.argv[1:] if argument != "--development"]
    found = [f"{wheel}: {problem}" for wheel in wheels for problem in problems(Path(wheel), len(wheels) < len(sys.argv) - 1)]
    print("\n".join(found) or f"{len(wheels)} wheel(s) bring what they have to")
    return 1 if found or not wheels else 0


if __name__ == "__main__":
    sys.exit(main())
