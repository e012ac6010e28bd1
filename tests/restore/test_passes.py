import json

import numpy as np
import pytest

from cpl_edge.data.images import read_photo, write_photo
from cpl_edge.errors import UserError
from cpl_edge.restore.__main__ import main
from cpl_edge.restore.passes import SURE, PassesRestorer
from cpl_edge.restore.restorer import Restorer


def dim(x_BHWC, w_SN):
    """Rain (selected if bright) divides by 3; noise (selected if dark) adds 0.1."""
    return x_BHWC / 3 if w_SN[..., 2:].sum() > 0.5 else x_BHWC + np.float32(0.1)


BRIGHT = np.full((70, 60, 3), 240, np.uint8)  # 80 after rain, 106 after noise


@pytest.mark.parametrize(
    ("most", "then", "value"), [(1, (), 80), (2, ("noise",), 106), (5, ("noise",), 106)]
)
def test_each_pass_selects_for_what_the_one_before_left(stub, most, then, value):
    runtime = stub(dim)
    restored = PassesRestorer(Restorer(runtime), most, sure=0.5).restore(BRIGHT)
    assert (restored.degradation, restored.then) == ("rain", then)
    assert (restored.image_HWC == value).all()
    calls = [name for name, _ in runtime.calls]
    tiles = Restorer(stub(dim)).restore(BRIGHT).tiles
    assert restored.tiles == calls.count("restore") == tiles * (1 + len(then))


def test_what_was_restored_is_not_restored_again(stub):
    """Dark photos stay noisy to this router: one pass, whatever may follow."""
    runtime = stub(dim)
    dark = np.full((32, 24, 3), 30, np.uint8)
    restored = PassesRestorer(Restorer(runtime), 5, sure=0.0).restore(dark)
    assert (restored.degradation, restored.then, restored.image_HWC.max()) == ("noise", (), 56)


def test_another_pass_takes_a_router_that_is_sure(stub):
    """After rain this router is 55 % sure of noise."""
    for sure, then in ((0.5, ("noise",)), (0.6, ()), (SURE, ())):
        restored = PassesRestorer(Restorer(stub(dim)), 2, sure).restore(BRIGHT)
        assert (restored.degradation, restored.then) == ("rain", then)


def test_floats_are_not_rounded_between_passes(stub):
    restored = PassesRestorer(Restorer(stub(dim)), 3, sure=0.0).restore_float(BRIGHT)
    assert restored.image_HWC.dtype == np.float32
    np.testing.assert_allclose(restored.image_HWC, 240 / 255 / 3 + 0.1, atol=1e-6)


def test_progress_ends_where_it_said(stub):
    told = []
    PassesRestorer(Restorer(stub(dim)), 4, sure=0.0).restore(
        BRIGHT, progress=lambda *n: told.append(n)
    )
    done, totals = zip(*told, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[0]


def test_time_counts_every_pass(stub):
    seconds = PassesRestorer(Restorer(stub(dim)), 2, sure=0.0).restore(BRIGHT).seconds
    assert seconds.total >= seconds.network + seconds.route + seconds.packing > 0


def test_a_choice_or_a_file_that_cannot_route_is_refused(stub):
    passes = PassesRestorer(Restorer(stub(dim)), 2)
    for choice in ("rain", np.zeros(4, np.float32)):
        with pytest.raises(UserError, match="leave the degradation at auto"):
            passes.restore(BRIGHT, choice)
    pinned = stub(lambda x, w: x, entry_points=("forward",), pinned="rain", routing="pinned")
    with pytest.raises(UserError, match="several passes need a file with 'route' and 'restore'"):
        PassesRestorer(Restorer(pinned), 2)


def test_from_the_command_line(toy, tmp_path, capsys):
    """The toy takes bright photos for rain, and adds a quarter: rain for ever, so one pass."""
    write_photo(tmp_path / "a.png", np.full((20, 30, 3), 180, np.uint8))
    argv = [str(tmp_path / "a.png"), "--model", str(toy), "--passes", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([*argv, "-o", str(tmp_path / "b.png"), "--json", str(tmp_path / "r.json")])
    assert stopped.value.code == 0
    assert "rain" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["passes"] == 3
    assert report["photos"][0]["then"] == []
    assert read_photo(tmp_path / "b.png").image_HWC[0, 0, 0] == 244
    with pytest.raises(SystemExit) as stopped:
        main([*argv, "-o", str(tmp_path / "c.png"), "--degradation", "rain"])
    assert stopped.value.code == 2
    assert "leave the degradation at auto" in capsys.readouterr().err
