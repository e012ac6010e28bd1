"""LPIPS against its authors' package, and its weights."""

import builtins
import hashlib
import pickle
import sys
import urllib.error
import warnings

import numpy as np
import pytest
from skimage.data import coffee

from cpl_edge.errors import MissingExtra, UserError
from cpl_edge.evaluate import perceptual
from cpl_edge.evaluate.perceptual import Lpips

CLEAN = coffee()[100:164, 200:248].astype(np.float32) / 255
NOISE = np.random.default_rng(0).standard_normal(CLEAN.shape).astype(np.float32)


def noisy(sigma):
    return np.clip(CLEAN + NOISE * np.float32(sigma / 255), 0, 1)


@pytest.fixture(scope="module")
def package():
    """The package's own network on a random AlexNet, its heads read by itself."""
    pytest.importorskip("lpips", reason="the extra lpips is not installed")
    import torch
    from lpips import LPIPS

    with warnings.catch_warnings(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")  # the package's arguments for torchvision are of old
        torch.manual_seed(0)
        return LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def weights(package, tmp_path_factory):
    """Its AlexNet as torchvision would have saved it."""
    import torch

    parts = (package.net.slice1, package.net.slice2, package.net.slice3, package.net.slice4,
             package.net.slice5)  # fmt: skip
    state = {
        f"features.{name}": tensor for part in parts for name, tensor in part.state_dict().items()
    }
    assert len(state) == 10
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state | {"classifier.1.bias": torch.zeros(4096)}, path)
    return path


@pytest.fixture(scope="module")
def lpips(weights):
    return Lpips(weights)


def test_the_figure_is_that_of_the_package(lpips, package):
    import torch

    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None] * 2 - 1 for i in (noisy(25), CLEAN))
    with torch.no_grad():
        expected = package(x, y).item()
    assert expected > 0.001
    assert lpips(noisy(25), CLEAN) == pytest.approx(expected, rel=1e-5)


def test_nothing_between_equal_images_and_more_with_more_noise(lpips):
    assert lpips(CLEAN, CLEAN) == 0
    figures = [lpips(noisy(sigma), CLEAN) for sigma in (5, 15, 50)]
    assert 0 < figures[0] < figures[1] < figures[2]


def test_safetensors_give_the_same(lpips, weights, tmp_path):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "alexnet.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    other = Lpips(path)
    assert other(noisy(25), CLEAN) == lpips(noisy(25), CLEAN)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert other.about == {
        "network": "AlexNet", "version": "0.1", "weights": "alexnet.safetensors", "sha256": digest,
    }  # fmt: skip
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"alexnet.safetensors cannot be read: "):
        Lpips(path)


def test_small_images_are_refused(lpips):
    smallest = perceptual.SMALLEST
    assert lpips(noisy(25)[:smallest, :smallest], CLEAN[:smallest, :smallest]) > 0
    with pytest.raises(UserError, match=r"48x30 pixels is too small for LPIPS: use .* 31 pixels"):
        lpips(noisy(25)[:30], CLEAN[:30])


@pytest.mark.parametrize(
    "change",
    [
        {"features.0.bias": None},
        {"features.0.bias": np.zeros(3)},
        {"features.0.bias": "text"},
        {"features.12.weight": np.zeros(3)},
    ],
    ids=["missing", "shape", "type", "another network"],
)
def test_another_network_is_refused_in_one_line(change, weights, tmp_path):
    import torch

    state = torch.load(weights, weights_only=True)
    for name, value in change.items():
        state[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    path = tmp_path / "other.pth"
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    with pytest.raises(
        UserError, match=r"other.pth is not torchvision's AlexNet: give .*"
    ) as error:
        Lpips(path)
    assert perceptual.URL in str(error.value) and "\n" not in str(error.value)


class Code:
    def __reduce__(self):
        return builtins.exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\x89PNG\r\n", "is no state dict, or needs code"),
        (pickle.dumps(Code()), "needs code to be read, which is refused"),
        ("zip of code", "needs code to be read, which is refused"),
        ("list", "it holds a list and no state dict"),
        (None, "does not exist: --lpips-weights names a file of yours"),
    ],
    ids=["empty", "picture", "pickled code", "saved code", "list", "nothing"],
)
def test_wrong_files_are_refused_in_one_line(content, message, package, tmp_path, monkeypatch):
    import torch

    # Not even where someone asked torch to unpickle whatever does not say otherwise.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "wrong.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save([1] if content == "list" else {"features.0.weight": Code()}, path)
    with pytest.raises(UserError, match=message) as error:
        Lpips(path)
    assert "\n" not in str(error.value)


def test_a_download_that_fails_says_what_to_do(package, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    expected = r"\(Name or service not known\): fetch https://\S+\.pth .* with --lpips-weights$"
    with pytest.raises(UserError, match=expected):
        Lpips()


def test_what_torchvision_downloaded_is_taken(lpips, weights, tmp_path, monkeypatch):
    from torchvision.models import AlexNet_Weights

    assert AlexNet_Weights.IMAGENET1K_V1.url == perceptual.URL
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", lambda *_, **__: pytest.fail("it downloads"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth").symlink_to(weights)
    assert Lpips()(noisy(25), CLEAN) == lpips(noisy(25), CLEAN)


def test_a_download_is_kept_where_its_digest_is_right(lpips, weights, tmp_path, monkeypatch):
    prefix = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, right in ((f"alexnet-owt-{prefix}.pth", True), ("alexnet-owt-00000000.pth", False)):
        (tmp_path / name).symlink_to(weights)
        monkeypatch.setattr(perceptual, "URL", (tmp_path / name).as_uri())
        if right:
            assert Lpips()(noisy(25), CLEAN) == lpips(noisy(25), CLEAN)
        else:
            with pytest.raises(UserError, match=r"cannot be downloaded \(invalid hash value"):
                Lpips()
        assert (tmp_path / "hub" / "checkpoints" / name).exists() is right


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)  # as Python marks what is not there
    with pytest.raises(MissingExtra, match=r"'lpips': pip install 'cpl-edge\[lpips\]'"):
        Lpips()
