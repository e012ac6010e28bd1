import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data import pairs
from cpl_edge.data.degradations import degrade
from cpl_edge.data.layouts import LAYOUTS
from cpl_edge.data.packing import list_training_images, pack
from cpl_edge.data.pairing import Item, training_items
from cpl_edge.data.pairs import PairBank, synthesise
from cpl_edge.errors import UserError

# Every pixel says where it is: image (100 more if degraded), row, column.
SIZES = {"0.png": (20, 31), "1.png": (40, 24), "2.png": (16, 16), "3.png": (18, 17)}
ITEMS = [
    Item("haze", "clean/0.png", "hazy/0.png"),
    Item("haze", "clean/1.png", "hazy/1.png"),
    Item("noise", "clean/2.png", synthesis="noise", repeats=9),
    Item("rain", "clean/3.png", "hazy/3.png", repeats=3),
]
KINDS = ("blur", "rain", "noise", "haze")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(name="bank", scope="module")
def coded_bank(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for index, (name, (h, w)) in enumerate(SIZES.items()):
        for folder, code in (("clean", index), ("hazy", index + 100)):
            image_HWC = np.empty((h, w, 3), np.uint8)
            image_HWC[..., 0] = code
            image_HWC[..., 1] = np.arange(h)[:, None]
            image_HWC[..., 2] = np.arange(w)
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(image_HWC).save(root / folder / name)
    Image.new("RGB", (31, 21)).save(root / "odd.png")
    names = [f"{folder}/{name}" for folder in ("clean", "hazy") for name in SIZES]
    return pack(root, [*names, "odd.png"], root / "bank")


def coded(crops_BCHW):
    return (crops_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy()


def symmetries(patch_HWC):
    turns = [np.rot90(patch_HWC, n) for n in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def test_both_crops_are_the_same_part_of_their_images_in_all_symmetries(bank):
    x_BCHW, y_BCHW, _ = PairBank(bank, ITEMS[:2]).crops(400, 12, rng())
    found = []
    for x, y in zip(coded(x_BCHW), coded(y_BCHW), strict=True):
        index, top, left = (int(y[..., c].min()) for c in range(3))
        window = bank.image(bank.place(f"clean/{index}.png"))[top : top + 12, left : left + 12]
        turns = [n for n, turned in enumerate(symmetries(window)) if np.array_equal(y, turned)]
        assert len(turns) == 1
        assert np.array_equal(x, y + np.array([100, 0, 0], np.uint8))
        found.append((index, top, left, turns[0]))
    assert min(np.bincount([turn for *_, turn in found], minlength=8)) > 25  # 50 expected
    for index, (h, w) in enumerate([(20, 31), (40, 24)]):
        tops = {top for i, top, _, _ in found if i == index}
        lefts = {left for i, _, left, _ in found if i == index}
        assert tops == set(range(h - 12 + 1))
        assert lefts == set(range(w - 12 + 1))


def test_items_are_drawn_by_their_repeats(bank):
    pair_bank = PairBank(bank, ITEMS)
    assert pair_bank.samples == 1 + 1 + 9 + 3
    assert len(pair_bank) == 4
    assert pair_bank.tasks == ("haze", "noise", "rain")
    _, y_BCHW, _ = pair_bank.crops(7000, 2, rng())
    counts = np.bincount(coded(y_BCHW)[:, 0, 0, 0], minlength=4)
    assert counts == pytest.approx(np.array([500, 500, 4500, 1500]), rel=0.15)


def test_weights_say_how_often_a_task_is_drawn(bank):
    pair_bank = PairBank(bank, ITEMS, weights={"haze": 30, "noise": 10})
    _, y_BCHW, _ = pair_bank.crops(4000, 2, rng())
    counts = np.bincount(coded(y_BCHW)[:, 0, 0, 0], minlength=4)
    assert counts == pytest.approx(np.array([1500, 1500, 1000, 0]), rel=0.15)
    for first in ("haze", "noise", "rain"):
        _, y_BCHW, group_B = PairBank(bank, ITEMS, weights={first: 1e-3}).crops(50, 2, rng())
        assert len(set(group_B.tolist())) == 1


def test_the_lowest_draw_never_falls_on_a_task_without_weight(bank, monkeypatch):
    pair_bank = PairBank(bank, ITEMS, weights={"noise": 1})
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, **_: torch.zeros(*size, dtype=dtype))
    _, _, group_B = pair_bank.crops(2, 4, rng())
    assert {pair_bank.groups[group][0] for group in group_B.tolist()} == {"noise"}


def test_weights_are_shared_within_a_task_by_repeats(bank):
    items = [ITEMS[0], Item("haze", "clean/1.png", "hazy/1.png", repeats=4), ITEMS[3]]
    _, y_BCHW, _ = PairBank(bank, items, weights={"haze": 1, "rain": 1}).crops(4000, 2, rng())
    counts = np.bincount(coded(y_BCHW)[:, 0, 0, 0], minlength=4)
    assert counts == pytest.approx(np.array([400, 1600, 0, 2000]), rel=0.15)


def test_a_batch_has_pairs_as_they_are_and_synthetic_ones_degraded(bank, monkeypatch):
    calls = []

    def record(x_BCHW, kind, generator, extent):
        calls.append((kind, x_BCHW, extent))
        return x_BCHW / 2

    monkeypatch.setattr(pairs, "degrade", record)
    x_BCHW, y_BCHW, label_B = PairBank(bank, ITEMS).degraded(KINDS, 64, 8, rng(3))
    code_B = coded(y_BCHW)[:, 0, 0, 0]
    tasks = np.array([KINDS.index(task) for task in ("haze", "haze", "noise", "rain")])
    assert np.array_equal(label_B.numpy(), tasks[code_B])
    assert set(code_B) == {0, 1, 2, 3}
    made = torch.from_numpy(code_B == 2)
    assert torch.equal(x_BCHW[made], y_BCHW[made] / 2)
    assert np.array_equal(
        coded(x_BCHW[~made]), coded(y_BCHW[~made]) + np.array([100, 0, 0], np.uint8)
    )
    ((kind, given, extent),) = calls
    assert kind == "noise"
    assert torch.equal(given, y_BCHW[made])
    assert 8 / 16 <= extent <= 1  # the only synthetic image has sides of 16


def test_real_degradations_are_applied(bank):
    x_BCHW, y_BCHW, _ = PairBank(bank, ITEMS[2:3]).degraded(KINDS, 8, 12, rng())
    assert ((x_BCHW - y_BCHW).abs().mean((1, 2, 3)) > 3 / 255).all()
    assert torch.equal((x_BCHW * 255).round() / 255, x_BCHW)


def test_the_memory_layout_is_that_of_training(bank):
    x_BCHW, y_BCHW, _ = PairBank(bank, ITEMS).degraded(KINDS, 4, 8, rng())
    for crops in (x_BCHW, y_BCHW):
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert crops.dtype == torch.float32
        assert 0 <= crops.min() < crops.max() <= 1


@pytest.mark.parametrize("resident", [True, False])
def test_the_generators_state_decides_and_resumes(bank, resident):
    pair_bank, generator = PairBank(bank, ITEMS, resident=resident), rng(5)
    pair_bank.degraded(KINDS, 6, 16, generator)
    state = generator.get_state()
    first = pair_bank.degraded(KINDS, 6, 16, generator)
    second = pair_bank.degraded(KINDS, 6, 16, generator)
    resumed = rng()
    resumed.set_state(state)
    fresh = PairBank(bank, ITEMS)
    for expected in (first, second):
        again = fresh.degraded(KINDS, 6, 16, resumed)
        assert all(map(torch.equal, again, expected))
    assert not torch.equal(first[0], second[0])


def test_a_training_batch_is_never_decoded(bank, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "open", forbidden)
    monkeypatch.setattr("cpl_edge.data.packing.read_photo", forbidden)
    PairBank(bank, ITEMS).degraded(KINDS, 4, 8, rng())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_layout_trains_from_its_packed_bank_alone(layout, make_dataset, tmp_path):
    root = make_dataset(layout.name, tmp_path / "data")
    bank = pack(root, list_training_images(root, layout), tmp_path / "bank")
    root.rename(tmp_path / "gone")
    pair_bank = PairBank(bank, training_items(layout, bank.names))
    assert pair_bank.tasks == layout.tasks
    shares = dict.fromkeys(layout.tasks, 1.0)
    even = PairBank(bank, training_items(layout, bank.names), weights=shares)
    x_BCHW, y_BCHW, label_B = even.degraded(layout.tasks, 150, 16, rng())
    assert set(label_B.tolist()) == set(range(len(layout.tasks)))
    assert x_BCHW.shape == y_BCHW.shape == (150, 3, 16, 16)
    changed_B = (x_BCHW != y_BCHW).flatten(1).any(1)  # rain may miss so small a crop, but not all
    assert all(changed_B[label_B == label].any() for label in range(len(layout.tasks)))


@pytest.mark.parametrize("kind", ["noise", "haze+rain"])
def test_synthesis_falls_back_on_the_usual_degradations(kind):
    x_BCHW = torch.rand(2, 3, 16, 16, generator=rng())
    expected = degrade(x_BCHW, kind, rng(1))
    assert torch.equal(synthesise(x_BCHW, kind, rng(1)), expected)


def test_mistakes_are_told(bank):
    with pytest.raises(UserError, match="nothing to train on"):
        PairBank(bank, [])
    with pytest.raises(UserError, match=r"does not hold clean/9\.png"):
        PairBank(bank, [Item("haze", "clean/9.png", "hazy/0.png")])
    with pytest.raises(UserError, match=r"odd\.png and clean/0\.png differ in size"):
        PairBank(bank, [*ITEMS, Item("haze", "clean/0.png", "odd.png")])
    with pytest.raises(UserError, match=r"crops of 17 do not fit clean/2\.png, .* is 16"):
        PairBank(bank, ITEMS).crops(1, 17, rng())
    with pytest.raises(UserError, match="the network knows no 'rain', only noise, haze"):
        PairBank(bank, ITEMS).degraded(("noise", "haze"), 1, 8, rng())
    with pytest.raises(UserError, match="no task 'snow' to weigh; there are haze, noise, rain"):
        PairBank(bank, ITEMS, weights={"snow": 1})
    for weights in ({}, {"haze": 0.0}, {"haze": 2.0, "rain": -1.0}):
        with pytest.raises(UserError, match="must not be negative, and one must be positive"):
            PairBank(bank, ITEMS, weights=weights)
    with pytest.raises(UserError, match="no degradation 'mio-fog'"):
        synthesise(torch.zeros(1, 3, 8, 8), "mio-fog", rng())
