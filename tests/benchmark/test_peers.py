import json
import subprocess

import numpy as np
import pytest

from cpl_edge.benchmark.peers import KEY, export_peer, peer_file
from cpl_edge.errors import CplEdgeError, UserError

for module in ("torch", "onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(module)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_an_exported_peer_is_the_network_and_describes_itself(tmp_path):
    import onnxruntime
    import torch

    from cpl_edge.models.peers import create_peer

    path = tmp_path / "ffdnet.onnx"
    export_peer("ffdnet", (16, 24), path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    described = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert described["parameters"] == 852_108 and described["title"] == "FFDNet colour"
    inner = 8 * 12 * 9 * (13 * 96 + 10 * 96 * 96 + 96 * 12)  # 12 convolutions at half size
    assert described["macs"] == inner
    x_BCHW = np.random.default_rng(1).random((1, 3, 16, 24), np.float32)
    (y_BCHW,) = session.run(None, {"x": x_BCHW})
    with torch.inference_mode():
        expected = create_peer("ffdnet")(torch.from_numpy(x_BCHW)).numpy()
    np.testing.assert_allclose(y_BCHW, expected, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["ffdnet.onnx"]


def test_the_cache_is_used(tmp_path):
    kept = tmp_path / "dncnn-8x8-v1.onnx"
    kept.touch()
    assert peer_file("dncnn", (8, 8), tmp_path) == kept


def test_an_export_that_fails_says_why(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback:\nKeyError: 'nothing'\n")
    with monkeypatch.context() as patch:
        patch.setattr("cpl_edge.benchmark.peers.subprocess.run", lambda *a, **k: failed)
        with pytest.raises(CplEdgeError, match="exporting the peer nothing failed: KeyError"):
            peer_file("nothing", (8, 8), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot hold peers"):
        peer_file("dncnn", (8, 8), tmp_path / "file")
