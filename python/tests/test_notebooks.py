"""A notebook in a real kernel of Jupyter, in which zest comes late. Only with ZEST_TEST_FRAMEWORKS=1: every night."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_S, TARGET, Client, Hub, daemon, install

pytestmark = pytest.mark.skipif(os.environ.get("ZEST_TEST_FRAMEWORKS") != "1", reason="ZEST_TEST_FRAMEWORKS=1 is not set")

PACKAGES = ("huggingface_hub==2.4.0", "hf_xet", "nbclient==0.*", "ipykernel", "ipywidgets==8.*")

CELLS = (
    "from huggingface_hub import hf_hub_download",
    "import zest; zest.enable()",
    "hf_hub_download('org/m', 'big.safetensors')",
    "import json; print(json.dumps(vars(zest.counters())))",
    # The kernel's loop runs already.
    "print((await zest.pull_async('org/d', repo_type='dataset', progress=False)).split('/')[-3])",
    "zest.disable(); import huggingface_hub.file_download as module; print(module.xet_get.__qualname__, module.xet_get.__module__)",
)

RUN = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.v4.new_notebook()
notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
NotebookClient(notebook, timeout=int(sys.argv[2]), kernel_name="python3").execute()
print("OUTPUTS " + json.dumps([cell.outputs for cell in notebook.cells]))
"""


def test_zest_may_come_late_and_shows_bars_of_notebooks(hub: Hub, tmp_path: Path) -> None:
    python = install(Path(os.environ.get("ZEST_TEST_ENVS", TARGET / "python")) / "notebooks", PACKAGES)
    (tmp_path / "run").mkdir(mode=0o700)
    user = Client(python, tmp_path, hub.url)
    command = [python, "-c", RUN, json.dumps(CELLS), str(int(HANG_S))]
    with daemon(user):
        environ = user.environ(ZEST_NO_START="1")
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=4 * HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    outputs: list[list[dict[str, Any]]] = json.loads(ran.stdout.rpartition("OUTPUTS ")[2])
    said = ["".join(output.get("text", "") for output in cell).strip() for cell in outputs]
    shown = [str(output["data"]) for output in outputs[2] if "data" in output]
    assert sum("jupyter.widget-view" in one for one in shown) == 2, shown
    assert json.loads(said[3]) == {"files": 1, "bytes": 12_000_000, "linked": 1, "fell_open": 0, "passed_by": 0}
    assert said[4:] == ["datasets--org--d", "xet_get huggingface_hub.file_download"], said
