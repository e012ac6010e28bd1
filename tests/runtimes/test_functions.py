"""Files whose restore is a function for each degradation: which one serves a call."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes import open_runtime
from cpl_edge.runtimes.protocol import chosen_function, declared_signature, function_signature

SPLIT = {"own": True, "routing": "split", "entry_points": ("route", "restore")}


@pytest.fixture(scope="module", params=["litert", "executorch"])
def path(request, toys, tmp_path_factory):
    pytest.importorskip(
        {"litert": "ai_edge_litert", "executorch": "executorch.exir"}[request.param]
    )
    suffix = {"litert": ".tflite", "executorch": ".pte"}[request.param]
    place = tmp_path_factory.mktemp("own") / f"own{suffix}"
    return toys.write(place, target=request.param, **SPLIT)


def weights(*values):
    return np.array(values, np.float32).reshape(1, 1, -1)


CHOSEN = [  # two levels of noise, two of rain
    ((1, 0, 0, 0), "noise"),
    ((0, 0, 0, 1), "rain"),
    ((0.5, 0, 0.3, 0.3), "rain"),  # its levels together
    ((0.3, 0.3, 0.5, 0), "noise"),
    ((0, 0, 0, 0), "noise"),  # of equals the first
    ((0.25, 0.25, 0.5, 0), "noise"),
]


@pytest.mark.parametrize(("values", "degradation"), CHOSEN, ids=str)
def test_what_weighs_most_over_its_levels_is_chosen(toys, values, degradation):
    own = replace(toys.INFO, **SPLIT)
    image = np.zeros((1, 3, 16, 12), np.float32)
    arrays = (image, weights(*values))
    assert chosen_function(own, "restore", arrays) == f"restore_{degradation}"
    assert chosen_function(own, "route", arrays[:1]) == "route"
    assert chosen_function(toys.INFO, "restore", arrays) == "restore"


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_the_student_would_choose(toys, seed):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from cpl_edge.models.student import Student, StudentConfig

    config = StudentConfig(widths=(2, 2), blocks=(0, 0, 0), own=("tail",))
    student = Student(config).requires_grad_(False)
    for index, tail in enumerate(student.own):  # the network tells its number
        tail.tail.weight.zero_()
        tail.tail.bias.fill_(index)
    own = replace(toys.INFO, **SPLIT, degradations=config.degradations, levels=config.levels)
    w = np.random.default_rng(seed).integers(0, 3, (1, 1, 15)).astype(np.float32)  # often equal
    x = np.zeros((1, 3, 16, 16), np.float32)
    index = int(student.restore(torch.from_numpy(x), torch.from_numpy(w)).mean())
    assert chosen_function(own, "restore", (x, w)) == f"restore_{config.degradations[index]}"


def test_every_function_takes_what_its_entry_point_takes(toys):
    own = replace(toys.INFO, **SPLIT)
    image, given = (1, 3, 16, 12), (1, 1, 4)
    assert declared_signature(own) == {"route": (image,), "restore": (image, given)}
    assert function_signature(own) == {
        "route": (image,),
        "restore_noise": (image, given),
        "restore_rain": (image, given),
    }
    assert function_signature(toys.INFO) == declared_signature(toys.INFO)


def test_a_file_restores_with_the_function_that_the_weights_choose(toys, path):
    x = np.random.default_rng(0).random((1, 3, 16, 12), dtype=np.float32)
    with closing(open_runtime(path)) as runtime:
        assert set(runtime.signature) == {"route", "restore"}
        for values, degradation in CHOSEN:
            (y,) = runtime.run("restore", x, weights(*values))
            times = {"noise": 1, "rain": 2}[degradation]
            np.testing.assert_allclose(y, x + times * (weights(*values) * toys.V).sum(), atol=1e-6)
        found, wanted = runtime.run("route", x), toys.expected("route", x)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        with pytest.raises(ValueError, match="no entry point 'restore_rain' in this file"):
            runtime.run("restore_rain", x, weights(0, 0, 0, 1))


def test_a_file_that_lacks_a_function_is_refused(toys, path, tmp_path):
    copy = tmp_path / path.name
    content = path.read_bytes()
    assert content.count(b'"own": true') == 1
    copy.write_bytes(content.replace(b'"noise", "rain"', b'"noise", "snow"'))
    with pytest.raises(UserError, match="export it again") as caught:
        open_runtime(copy)
    assert "restore_snow" in str(caught.value)
    assert "\n" not in str(caught.value)
    copy.write_bytes(content.replace(b'"own": true', b'"own":false'))
    with pytest.raises(UserError, match="export it again"):
        open_runtime(copy)
