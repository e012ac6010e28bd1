"""Peers as ONNX files: made once, in a process of their own, and kept in a cache folder.

python -m cpl_edge.benchmark.peers NAME HEIGHTxWIDTH FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cpl_edge.errors import CplEdgeError, UserError, require
from cpl_edge.recipe import nearest

KEY = "cpl_edge_peer"
VERSION = 1
"""Part of the file names: raise it when a definition changes."""

OPSET = 18


def check_peers(names: tuple[str, ...]) -> None:
    """Refuse what is not there before any work.

    Raises:
        UserError: no such peer.
        MissingExtra: torch or ONNX is not installed.
    """
    if not names:
        return
    for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
        require(module, extra="onnx")
    from cpl_edge.models.peers import PEERS

    for name in names:
        if name not in PEERS:
            raise UserError(f"no peer {name!r}: {nearest(name, PEERS)}")


def peer_file(name: str, size: tuple[int, int], cache: Path) -> Path:
    """The ONNX file of a peer; made if the cache has none.

    Args:
        name: a key of `cpl_edge.models.peers.PEERS`.
        size: height and width of its image in pixels.
        cache: folder of these files.

    Raises:
        CplEdgeError: the export failed.
    """
    path = cache / f"{name}-{size[0]}x{size[1]}-v{VERSION}.onnx"
    if path.is_file():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{cache} cannot hold peers ({error.strerror})") from error
    # A process of its own: the exporter takes memory, talks much and leaves threads behind.
    words = [sys.executable, "-m", __spec__.name, name, f"{size[0]}x{size[1]}", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CplEdgeError(f"exporting the peer {name} failed: {reason}")
    return path


def export_peer(name: str, size: tuple[int, int], path: Path) -> None:
    """Write a peer with random weights; its metadata say parameters and MACs."""
    import onnx
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cpl_edge.models.peers import PEERS, create_peer

    network = create_peer(name)
    x_BCHW = torch.rand(1, 3, *size)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(x_BCHW)
    exported = torch.onnx.export(
        network,
        (x_BCHW,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["x"],
        output_names=["y"],
        verbose=False,
    )
    assert exported is not None
    description = {
        "name": name,
        "title": PEERS[name].title,
        "paper": PEERS[name].paper,
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": counter.get_total_flops() // 2,
        "height": size[0],
        "width": size[1],
    }
    model = exported.model_proto
    onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
    temporary = path.with_suffix(".tmp")
    onnx.save(model, str(temporary))
    temporary.replace(path)


if __name__ == "__main__":
    peer, words, target = sys.argv[1:]
    rows, columns = map(int, words.split("x"))
    export_peer(peer, (rows, columns), Path(target))
