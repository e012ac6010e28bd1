"""The core of the Android app, tested by its own JUnit tests with real inference."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "android_demo"


@pytest.mark.skipif(
    "CPL_EDGE_ANDROID" not in os.environ, reason="takes a minute or more: set CPL_EDGE_ANDROID=1"
)
@pytest.mark.timeout(1200)
def test_core(tmp_path):
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: install a JDK 17 and Maven")
    done = subprocess.run(
        ["bash", str(DEMO / "test_offline.sh"), "core"],
        env=os.environ | {"OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    reports = list((tmp_path / "core/surefire-reports").glob("*.xml"))
    assert len(reports) >= 10
    profile = json.loads((tmp_path / "core/profile.json").read_text())
    assert profile["kind"] == "cpl_edge.android"
    assert profile["builds"][0]["entries"]["restore"]["queries"] > 0
