"""Where results go: a new file for each run, never over another one."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cpl_edge.benchmark.schema import LatencyRun, PhotoRun
from cpl_edge.errors import UserError


def check_results(folder: Path) -> None:
    """Refuse a folder that cannot take a result, before anything is measured.

    Raises:
        UserError: it cannot be made or written to.
    """
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{folder} cannot take results ({error.strerror}): give another --results"
        ) from error


def write_result(run: LatencyRun | PhotoRun, folder: Path) -> Path:
    """Write a result as ``KIND-SUITE-DATE-TIME.json``, with a number where that is taken.

    Returns:
        The new file.
    """
    moment = re.sub(r"[-:]", "", run.started).replace("T", "-")[:15]
    mode = "-quick" if run.mode == "quick" else ""
    text = json.dumps(run.model_dump(mode="json"), indent=1) + "\n"
    for number in range(1, 1000):
        extra = f"-{number}" if number > 1 else ""
        path = folder / f"{run.kind}-{run.suite}-{moment}{mode}{extra}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        return path
    raise UserError(f"{folder} is full of results of {moment}: give another --results")
