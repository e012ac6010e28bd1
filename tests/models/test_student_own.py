"""Students some of whose parts each degradation has for itself."""

import json
from dataclasses import replace

import pytest
import torch

from cpl_edge.models.shape import PARTS
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import load_student, save_student

PLAIN = StudentConfig(widths=(6, 10), router_widths=(5, 7), router_hidden=9)
D, M, N = len(PLAIN.degradations), PLAIN.levels, PLAIN.prompts
EACH = {"noise": ("head", "middle.1"), "blur": PARTS, "haze": ("middle",)}  # rain, low light: none
OWNED = [PARTS, ("tail",), ("encoder", "up"), ("head", "middle", "decoder"), ("middle.1",), EACH]


@pytest.fixture(scope="module")
def owning(trained_like):
    def make(own=PARTS):
        """A student whose every number differs, and so what degradations have for themselves."""
        return trained_like(replace(PLAIN, own=own))

    return make


@pytest.fixture(name="student")
def a_student(owning):
    return owning()


def by_hand(student, degradation):
    """The plain student of one degradation, put together from the state dict."""
    plain = Student(replace(student.config, own=()))
    given, values = student.state_dict(), plain.state_dict()
    own = student.config.own
    parts = own.get(PLAIN.degradations[degradation], ()) if isinstance(own, dict) else own
    for name, value in values.items():
        if name.split(".")[0] not in parts and ".".join(name.split(".")[:2]) not in parts:
            value.copy_(given[name])
        elif name.endswith(("scale_NC", "shift_NC")):  # whoever is asked for, it is its level
            for n in range(N):
                value[n] = given[f"own.{degradation}.{name}"][n % M]
        else:
            value.copy_(given[f"own.{degradation}.{name}"])
    plain.load_state_dict(values)
    return plain.eval()


def forced(student, x_BCHW, degradation):
    label_B = torch.full((len(x_BCHW),), degradation)
    return student.forced(student.logits(x_BCHW), label_B)


def assert_same(y_BCHW, expected_BCHW):
    torch.testing.assert_close(y_BCHW, expected_BCHW, atol=1e-5, rtol=1e-5)


def test_each_degradation_has_its_parts_and_all_share_the_others():
    names = set(Student(replace(PLAIN, own=("head", "middle"))).state_dict())
    shared = {n for n in Student(PLAIN).state_dict() if n.split(".")[0] not in ("head", "middle")}
    parts = {n for n in Student(PLAIN).state_dict() if n.split(".")[0] in ("head", "middle")}
    assert names == shared | {f"own.{d}.{name}" for d in range(D) for name in parts}
    assert "own.4.middle.1.scale_NC" in names
    state = Student(replace(PLAIN, own=("middle",))).state_dict()
    assert state["own.0.middle.0.scale_NC"].shape == (M, 10)
    assert state["encoder.0.scale_NC"].shape == (N, 6)


def test_each_degradation_may_own_other_parts_and_single_blocks():
    names = set(Student(replace(PLAIN, own=EACH)).state_dict())
    plain = set(Student(PLAIN).state_dict())
    assert plain <= names  # rain and low light share everything
    owned = {d: {n.split(".", 2)[2] for n in names if n.startswith(f"own.{d}.")} for d in range(D)}
    assert owned[0] == {n for n in plain if n.startswith(("head.", "middle.1."))}
    assert owned[1] == {n for n in plain if not n.startswith("router.")}
    assert owned[3] == {n for n in plain if n.startswith("middle.")}
    assert not owned[2] and not owned[4]


def test_parts_that_someone_owns_are_named():
    assert StudentConfig().owned_parts == ()
    assert replace(PLAIN, own=("tail", "middle.1")).owned_parts == ("middle", "tail")
    assert replace(PLAIN, own={"rain": ("up",), "haze": ("head",)}).owned_parts == ("head", "up")


def test_what_every_degradation_owns_is_shared_by_none():
    own = {**dict.fromkeys(PLAIN.degradations, ("middle.0", "tail")), "rain": ("middle", "tail")}
    names = set(Student(replace(PLAIN, own=own)).state_dict())
    shared = {name.split(".")[0] + "." + name.split(".")[1] for name in names}
    assert "middle.1" in shared and not {"middle.0", "tail.weight"} & shared


@torch.no_grad()
@pytest.mark.parametrize("own", OWNED, ids=" ".join)
def test_a_photo_is_restored_with_what_its_degradation_owns(owning, x_BCHW, own):
    student = owning(own)
    made = []
    for degradation in range(D):
        w_BSN = forced(student, x_BCHW, degradation)
        made.append(student.restore(x_BCHW, w_BSN))
        assert_same(made[-1], by_hand(student, degradation).restore(x_BCHW, w_BSN))
    for degradation, one in enumerate(made):  # no two of them would do for each other
        assert all((one - other).abs().max() > 1e-2 for other in made[:degradation])


@torch.no_grad()
@pytest.mark.parametrize("own", OWNED, ids=" ".join)
def test_photos_of_a_batch_have_each_their_own(owning, own):
    student = owning(own)
    label_B = torch.tensor([3, 0, 4, 3, 1])
    x_BCHW = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    w_BSN = student.forced(student.logits(x_BCHW), label_B)
    together = student.restore(x_BCHW, w_BSN)
    assert together.dtype == x_BCHW.dtype
    for i in range(5):
        assert_same(together[i : i + 1], student.restore(x_BCHW[i : i + 1], w_BSN[i : i + 1]))


def test_photos_of_a_batch_teach_each_their_own(student):
    x_BCHW = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    w_BSN = student.forced(student.logits(x_BCHW), torch.tensor([2, 4, 2]))
    student.zero_grad()
    student.restore(x_BCHW, w_BSN).square().sum().backward()
    learns = {name.split(".")[1] for name, p in student.own.named_parameters(prefix="own")
              if p.grad is not None and p.grad.abs().sum() > 0}  # fmt: skip
    assert learns == {"2", "4"}


@torch.no_grad()
@pytest.mark.parametrize("own", [PARTS, ("encoder", "tail")], ids=" ".join)
def test_what_weighs_most_over_all_levels_restores_with_all_weights(owning, x_BCHW, own):
    student = owning(own)
    w_N = torch.zeros(N)
    w_N[1 * M + 2] = 0.4  # the largest weight of all
    w_N[3 * M : 4 * M] = torch.tensor([0.25, 0.15, 0.2])  # the largest sum
    w_BSN = w_N.expand(2, 1, N)
    mixed = student.restore(x_BCHW, w_BSN)
    for same in (by_hand(student, 3), student.of(3), student.pin(w_N)):  # as files do, too
        assert_same(mixed, same.restore(x_BCHW, w_BSN))
    moved = torch.zeros_like(w_BSN)
    moved[..., 3 * M : 4 * M] = w_BSN.reshape(2, 1, D, M).sum(2)
    is_same = torch.allclose(mixed, student.restore(x_BCHW, moved), atol=1e-5)
    assert is_same == (own == PARTS)  # parts that all share see all prompts


@torch.no_grad()
def test_the_router_chooses_as_it_did_before(student, x_BCHW):
    plain = by_hand(student, 0)
    assert torch.equal(student.logits(x_BCHW), plain.logits(x_BCHW))
    assert torch.equal(student(x_BCHW), student.restore(x_BCHW, plain.route(x_BCHW)))


@torch.no_grad()
@pytest.mark.parametrize("own", OWNED, ids=" ".join)
@pytest.mark.parametrize("degradation", range(D))
def test_of_one_degradation_it_is_a_plain_student(owning, x_BCHW, own, degradation):
    student = owning(own)
    plain = student.of(degradation)
    assert plain.config == replace(student.config, own=())
    assert not plain.training
    assert torch.equal(plain.logits(x_BCHW), student.logits(x_BCHW))
    w_BSN = forced(student, x_BCHW, degradation)
    assert_same(plain.restore(x_BCHW, w_BSN), student.restore(x_BCHW, w_BSN))


@torch.no_grad()
def test_of_one_degradation_it_restores_whatever_is_selected(student, x_BCHW):
    plain = student.of(2)
    for selected in range(D):
        w_BSN = forced(student, x_BCHW, selected)
        same_levels = w_BSN.roll((2 - selected) * M, -1)
        expected = student.restore(x_BCHW, same_levels)
        assert_same(plain.restore(x_BCHW, w_BSN), expected)


@torch.no_grad()
@pytest.mark.parametrize("own", [PARTS, ("tail",)], ids=" ".join)
@pytest.mark.parametrize("degradation", range(D))
def test_told_it_restores_as_if_forced(owning, x_BCHW, own, degradation):
    student = owning(own)
    told, w_BSN = student.told(degradation), forced(student, x_BCHW, degradation)
    assert not told.config.own
    torch.testing.assert_close(told.route(x_BCHW), w_BSN)
    assert_same(told(x_BCHW), student.restore(x_BCHW, w_BSN))
    for wrong in (-1, D):
        with pytest.raises(ValueError, match=f"cannot be told degradation {wrong}"):
            student.told(wrong)


@torch.no_grad()
@pytest.mark.parametrize("own", [PARTS, ("tail",)], ids=" ".join)
def test_pinned_it_holds_what_weighs_most(owning, x_BCHW, own):
    student = owning(own)
    for degradation in range(D):
        w_N = forced(student, x_BCHW[:1], degradation)[0, 0]
        pinned = student.pin(w_N.tolist())
        expected = student.restore(x_BCHW, w_N.expand(2, 1, N))
        assert (pinned.restore(x_BCHW, torch.zeros(2, 1, N)) - expected).abs().max() <= 1e-4
    with pytest.raises(ValueError, match=f"{N} weights"):
        student.pin([1.0, 0.0])


def test_copies_of_it_share_nothing_with_it(student):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with torch.no_grad():
        for copy in (student.of(1), student.told(1), student.pin(torch.eye(N)[3])):
            for parameter in copy.parameters():
                parameter.zero_()
    assert all(torch.equal(student.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"own": ("router",)}, "own 'router': choose from head, encoder, down"),
        ({"own": ("middle.2",)}, "own 'middle.2': choose from head"),
        ({"own": ("middle", "middle.1")}, "each part or block once"),
        ({"own": {"snow": ("tail",)}}, "snow.*choose from noise, blur"),
        ({"own": {"rain": ()}}, "no part"),
        ({"own": ("tail", "head", "tail")}, "each part or block once"),
        ({"own": ("tail",), "rank": 1}, "rank = 0"),
        *[({"own": ("tail",), "prompt": p}, 'prompt = "levels"') for p in ("none", "soft")],
    ],
)
def test_what_cannot_be_owned_is_told(values, message):
    with pytest.raises(ValueError, match=message):
        StudentConfig(**values)


@pytest.mark.parametrize("own", [PARTS, EACH], ids=" ".join)
def test_it_is_exported_and_survives_its_file(owning, own, x_BCHW, tmp_path):
    student = owning(own)
    assert student.config.exported
    plain = StudentConfig.from_dict(json.loads(json.dumps(student.config.to_dict())))
    assert plain == student.config
    save_student(student, tmp_path / "own.safetensors")
    again = load_student(tmp_path / "own.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x_BCHW), student(x_BCHW))
    older = {key: value for key, value in student.config.to_dict().items() if key != "own"}
    assert StudentConfig.from_dict(older).own == ()
