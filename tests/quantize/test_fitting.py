"""Weights rounded for what they are multiplied with: costs, grids, and whole students."""

import copy

import pytest
import torch
from torch import nn

from cpl_edge.errors import UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.fitting import fit_rounding, round_to_moments
from cpl_edge.quantize.folding import equalise, one_sided
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.rounding import round_weights
from cpl_edge.quantize.simulation import sqnr

SIZE = (64, 72)
ROWS, K = 16, 72


def nearest(w_RK):
    return round_weights(w_RK[:, :, None, None])[:, :, 0, 0]


def costs(q_RK, w_RK, h_KK):
    """Of each row: the mean square of what its error makes of the inputs."""
    error_RK = (q_RK - w_RK).double()
    return torch.einsum("rk,kl,rl->r", error_RK, h_KK.double(), error_RK)


def drawn(seed, alike):
    """Weights, and moments of inputs: independent ones, or a constant and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    w_RK = torch.randn(ROWS, K, generator=generator)
    x_SK = torch.randn(500, K, generator=generator)
    if alike:
        x_SK = torch.rand(500, 1, generator=generator) + 0.05 * x_SK
    return w_RK, x_SK.T @ x_SK


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_rows_cost_less_than_rounded_to_the_nearest(seed, alike):
    w_RK, h_KK = drawn(seed, alike)
    before, after = (costs(q, w_RK, h_KK) for q in (nearest(w_RK), round_to_moments(w_RK, h_KK)))
    assert before.sum() > (15 if alike else 1.03) * after.sum()  # measured: 28 to 100, 1.07 to 1.12
    assert (after < 1.5 * before).all()  # measured: 1.16, and for most rows less than 1


def test_errors_of_like_inputs_cancel():
    w_RK = drawn(0, True)[0]
    step_R, ones_KK = w_RK.abs().amax(1) / 127, torch.ones(K, K)
    sums = [
        (q - w_RK).sum(1).abs() / step_R for q in (nearest(w_RK), round_to_moments(w_RK, ones_KK))
    ]
    assert sums[0].max() > 2
    assert sums[1].max() < 0.75  # steps: what the last weight leaves


@pytest.mark.parametrize("alike", [True, False])
def test_rows_are_on_the_grid_of_their_largest_weight(alike):
    w_RK, h_KK = drawn(3, alike)
    w_RK[1, :5] = w_RK[1].abs().max()  # some that are as large, and cannot grow
    q_RK = round_to_moments(w_RK, h_KK)
    largest_R1 = w_RK.abs().argmax(1, keepdim=True)
    assert torch.equal(q_RK.gather(1, largest_R1), w_RK.gather(1, largest_R1))
    steps_RK = q_RK.double() / (w_RK.double().abs().amax(1, keepdim=True) / 127)
    torch.testing.assert_close(steps_RK, steps_RK.round(), atol=1e-4, rtol=0)
    assert steps_RK.abs().max() < 127.5
    assert (q_RK - nearest(w_RK)).abs().max() > 0.005  # it is not simply the nearest
    torch.testing.assert_close(nearest(q_RK), q_RK, atol=1e-6, rtol=0)


def test_without_correlations_the_nearest_is_best():
    w_RK, _ = drawn(0, False)
    torch.testing.assert_close(
        round_to_moments(w_RK, torch.eye(K)), nearest(w_RK), atol=1e-6, rtol=0
    )


def test_a_row_of_zeros_stays_zero():
    w_RK, h_KK = drawn(0, True)
    w_RK[4] = 0
    q_RK = round_to_moments(w_RK, h_KK)
    assert (q_RK[4] == 0).all()
    assert (q_RK[5] != 0).any()


def test_inputs_that_are_always_zero_leave_the_nearest():
    """A block that a degradation silences passes its second convolution nothing else."""
    w_RK, _ = drawn(0, False)
    found = round_to_moments(w_RK, torch.zeros(K, K))
    torch.testing.assert_close(found, nearest(w_RK), atol=1e-6, rtol=0)


def convolutions(student):
    return {
        name: module
        for name, module in student.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith("router")
    }


@pytest.mark.parametrize("pinned", [False, True])
def test_a_student_restores_more_exactly_than_rounded_to_the_nearest(student, calibration, pinned):
    network = student.pin(torch.eye(15)[4]) if pinned else student
    fitted, rounded = fit_rounding(network, calibration.crops), copy.deepcopy(network)
    for conv in convolutions(rounded).values():
        conv.weight.data = round_weights(conv.weight.detach())
    chosen = CalibrationSet(crops=2)
    judged = make_calibration(chosen, student.config.degradations, SIZE, judging=True)
    with torch.no_grad():
        expected, far, near = (
            [n.restore(x, student.route(x)) for x in judged.crops]
            for n in (network, rounded, fitted)
        )
    assert sqnr(expected, near) > sqnr(expected, far) + 6  # dB; measured: 12 and more


def test_only_weights_of_convolutions_change_and_the_student_does_not(student, calibration):
    before = copy.deepcopy(student.state_dict())
    fitted = fit_rounding(student, calibration.crops)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    rounded = {f"{name}.weight" for name in convolutions(student)}
    found = {n for n, value in fitted.state_dict().items() if not torch.equal(before[n], value)}
    assert found == rounded
    assert len(rounded) == 10
    for conv in convolutions(fitted).values():
        again = round_weights(conv.weight.detach())
        torch.testing.assert_close(again, conv.weight.detach(), atol=1e-6, rtol=0)
    twice = fit_rounding(student, calibration.crops).state_dict()
    assert all(torch.equal(twice[name], value) for name, value in fitted.state_dict().items())


def changed(old, new):
    pairs = zip(convolutions(old).items(), convolutions(new).values(), strict=True)
    return {name for (name, a), b in pairs if not torch.equal(a.weight, b.weight)}


def test_kept_modules_and_what_is_in_them_keep_their_weights(calibration):
    student = Student(StudentConfig(widths=(4, 4), blocks=(11, 1, 1))).eval()
    with torch.no_grad():
        for conv in convolutions(student).values():
            conv.weight.normal_(0, 0.1)
    kept = ["encoder.1", "encoder.2.expand", "tail"]
    inside = {"encoder.1.expand", "encoder.1.project", "encoder.2.expand", "tail"}
    fitted = fit_rounding(student, calibration.crops[:1], kept)
    assert changed(student, fitted) == set(convolutions(student)) - inside


def test_a_one_sided_block_is_kept_and_rounded_as_any(student, calibration):
    positive = equalise(student, calibration.crops[:1], 0.0)
    with torch.no_grad():
        for block in (positive.encoder[0], positive.decoder[0]):
            block.scale_NC.abs_()
    sided = one_sided(positive)
    assert isinstance(sided.encoder[0].expand, nn.Sequential)
    fitted = fit_rounding(sided, calibration.crops, ["encoder.0.expand"])
    assert changed(sided, fitted) == set(convolutions(sided)) - {"encoder.0.expand.0"}
    assert "decoder.0.expand.0" in changed(sided, fitted)


@pytest.mark.parametrize("rounding", ["nearest", "fitted"])
def test_a_recipe_asks_for_it(student, rounding):
    recipe = read_quantize_recipe("litert-w8").model_copy(
        update={"rounding": rounding, "keep_float": ("head",), "equalise": 0.0}
    )
    assert recipe.reads_crops == (rounding == "fitted")
    prepared, how = prepare(student, recipe, SIZE)
    everything_else = set(convolutions(student)) - {"head"}
    assert changed(student, prepared) == (everything_else if rounding == "fitted" else set())
    assert (how.calibration is not None) == (rounding == "fitted")


@pytest.mark.parametrize(
    ("target", "precision", "weights"),
    [("litert", "fp16", "fp16"), ("coreml", "p4", "palette4"), ("coreml", "p8", "palette8")],
)
def test_other_weights_than_integers_are_refused(tmp_path, target, precision, weights):
    path = tmp_path / "mine.toml"
    text = f'target = "{target}"\nprecision = "{precision}"\nweights = "{weights}"\nrounding = '
    path.write_text(text + '"nearest"\n')
    assert not read_quantize_recipe(str(path)).reads_crops
    path.write_text(text + '"fitted"\n')
    with pytest.raises(UserError) as caught:
        read_quantize_recipe(str(path))
    message = f'rounding = "fitted" is for weights = "int8", not for {weights}: leave it out'
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
