"""The steps of a build: what is refused before any work, what is kept, and what is left behind."""

import hashlib
import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.export import build as steps
from cpl_edge.export.build import check, export, pinned_weights
from cpl_edge.export.recipe import ExportRecipe, read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.models.student import Student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.recipe import CalibrationSet
from cpl_edge.runtimes import open_runtime

SIZE = (64, 72)


def recipe_for(target: str = "onnx", **changes) -> ExportRecipe:
    (recipe,) = read_recipes(target, size="64x72")
    return recipe.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "onxn"}, "no target 'onxn': did you mean 'onnx'?"),
        ({"precision": "fp16"}, "onnx does not do fp16: ONNX Runtime's CPU provider"),
        ({"precision": "w7"}, "onnx does not do w7: there is no such precision; choose from"),
        ({"quantize": "litert-w8a8"}, "litert-w8a8 is for litert w8a8, not for onnx fp32"),
        ({"routing": "pinned"}, "add --degradation, one of noise, blur, rain, haze, lowlight"),
        (
            {"routing": "told"},
            "a told build is for one degradation: add --degradation, one of noise",
        ),
        ({"degradation": "rain"}, "leave --degradation out, or use --routing told, or pinned"),
        ({"routing": "pinned", "degradation": "hase"}, "'hase': did you mean 'haze'?"),
        ({"size": (64, 70)}, "size 70 is no multiple of 4: nearest is 72"),
        ({"size": (9, 72)}, "size 9 is no multiple of 4: nearest is 52"),
        ({"size": (48, 72)}, "leaves nothing between two halos of 24 pixels: give 52 or more"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(student, changes, message):
    assert student.halo == 24
    with pytest.raises(UserError) as caught:
        check(recipe_for().model_copy(update=changes), student)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(52, 52), (64, 2000)])
def test_what_works_is_not_refused(student, size):
    assert check(recipe_for(size=size), student) is TARGETS["onnx"]


@pytest.mark.parametrize(("target", "nearest"), [("executorch", "dynamic"), ("onnx", "w8a8")])
def test_half_precision_is_refused_with_the_nearest_that_works(target, nearest):
    reason = TARGETS[target].supports("fp16")
    assert reason is not None
    assert reason.endswith(f"nearest: --precision {nearest}")
    assert TARGETS[target].supports(nearest) is None


def test_core_ml_does_both_precisions():
    assert [TARGETS["coreml"].supports(p) for p in ("fp32", "fp16")] == [None, None]


def test_a_missing_package_is_answered_before_any_work(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(type(TARGETS["onnx"]), "modules", ("no_such_package",))
    with pytest.raises(UserError, match=r"pip install 'cpl-edge\[onnx\]'"):
        export([recipe_for()], str(weights), tmp_path / "build")
    assert not (tmp_path / "build").exists()


def test_pinned_weights_are_the_mean_levels_of_one_degradation(student):
    w_N = pinned_weights(student, "rain", SIZE)
    assert w_N.shape == (15,)
    assert w_N.nonzero().flatten().tolist() == [6, 7, 8]
    torch.testing.assert_close(w_N.sum(), torch.tensor(1.0))
    chosen = CalibrationSet(degradations=("rain",))
    with torch.no_grad():
        levels = [
            torch.softmax(student.logits(x_BCHW)[0, 0, 5 + 6 : 5 + 9], -1)
            for x_BCHW in make_calibration(chosen, student.config.degradations, SIZE).crops
        ]
    torch.testing.assert_close(w_N[6:9], torch.stack(levels).mean(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
@pytest.mark.parametrize("routing", ["told", "pinned"])
def test_a_build_for_one_degradation_is_judged_on_that(exported, routing, precision):
    """On photos, too, that neither its prompt nor its ranges were fitted to."""
    asked = {"routing": routing, "degradation": "haze", "precision": precision}
    card = exported("onnx", **asked).card
    assert card["crops"]["degradations"] == ["haze"]
    assert card["crops"]["count"] >= 16
    fitted = make_calibration(CalibrationSet(degradations=("haze",)), ("haze",), SIZE).photos
    assert not set(card["crops"]["photos"]) & set(fitted)
    (quality,) = card["quality"].values()
    assert quality["worst"] in card["crops"]["photos"]
    assert quality["crops"] == card["crops"]["count"]


def test_a_told_file_takes_everything_for_one_degradation_of_its_own_strength(exported, student):
    outcome = exported("onnx", routing="told", degradation="haze")
    assert outcome.folder is not None
    assert outcome.folder.name == "tiny-onnx-fp32-told-haze-64x72"
    index, m = student.config.degradations.index("haze"), student.config.levels
    with closing(open_runtime(outcome.folder / "model.onnx")) as runtime:
        assert (runtime.info.routing, runtime.info.pinned) == ("told", "haze")
        for seed in range(3):
            x_BCHW = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed)) ** seed
            with torch.no_grad():
                w_BSN = student.forced(student.logits(x_BCHW), torch.tensor([index]))
                expected = student.restore(x_BCHW, w_BSN).numpy()
            (y_BCHW,) = runtime.run("forward", x_BCHW.numpy())
            np.testing.assert_allclose(y_BCHW, expected, atol=1e-4)
            w, _ = runtime.run("route", x_BCHW.numpy())
            np.testing.assert_allclose(w, w_BSN.numpy(), atol=1e-4)
            assert w[0, 0].nonzero()[0].tolist() == list(range(index * m, (index + 1) * m))


def test_a_build_for_every_degradation_is_judged_on_each(exported):
    card = exported("onnx").card
    assert card["crops"]["degradations"] == ["blur", "haze", "lowlight", "noise", "rain"]
    assert all(row["crops"] == 4 for row in card["quality"].values())


def test_a_build_holds_its_model_and_its_card_and_nothing_else(exported, weights):
    outcome = exported("onnx")
    assert outcome.folder is not None
    assert outcome.folder.name == "tiny-onnx-fp32-auto-64x72"
    assert sorted(path.name for path in outcome.folder.iterdir()) == ["card.json", "model.onnx"]
    card = json.loads((outcome.folder / "card.json").read_text())
    assert card == json.loads(json.dumps(outcome.card))
    assert card["digest"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card["bytes"] == (outcome.folder / "model.onnx").stat().st_size
    assert card["entry_points"] == ["forward", "route", "restore"]
    assert card["crops"]["count"] == 20
    assert set(card["quality"]) == {"noise", "blur", "rain", "haze", "lowlight"}
    assert card["machine"]["cores"] >= 1
    assert {"cpl-edge", "torch", "onnx"} <= set(card["versions"])
    assert "refused" not in card


def test_a_failed_gate_leaves_nothing(weights, tmp_path, capsys):
    limits = recipe_for().gate_limits.model_copy(update={"max_abs": 1e-12})
    recipe = recipe_for(limits={"fp32": limits})
    (outcome,) = export([recipe], str(weights), tmp_path)
    assert outcome.folder is None
    assert [result.name for result in outcome.refusals] == ["parity"]
    assert list(tmp_path.iterdir()) == []
    assert "6/6 refuse" in capsys.readouterr().err


def test_a_refused_build_is_kept_beside_a_good_one_if_asked_to(weights, tmp_path):
    export([recipe_for(routing="pinned", degradation="noise")], str(weights), tmp_path)
    good = (tmp_path / "tiny-onnx-fp32-pinned-noise-64x72" / "model.onnx").read_bytes()
    limits = recipe_for().gate_limits.model_copy(update={"max_abs": 1e-12})
    recipe = recipe_for(routing="pinned", degradation="noise", limits={"fp32": limits})
    for _ in range(2):  # the second replaces the first
        (outcome,) = export([recipe], str(weights), tmp_path, keep_refused=True)
        assert outcome.folder == tmp_path / "tiny-onnx-fp32-pinned-noise-64x72-refused"
        card = json.loads((outcome.folder / "card.json").read_text())
        assert card["refused"] == ["parity"]
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "tiny-onnx-fp32-pinned-noise-64x72" / "model.onnx").read_bytes() == good


def test_a_converter_that_fails_leaves_nothing(weights, tmp_path, monkeypatch):
    def fail(self, program, folder):
        (folder / "half").write_text("written")
        raise RuntimeError("unknown operator\nand a long story")

    monkeypatch.setattr(type(TARGETS["onnx"]), "convert", fail)
    with pytest.raises(CplEdgeError, match="converting to onnx failed: unknown operator") as caught:
        export([recipe_for()], str(weights), tmp_path)
    assert "long story" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_function_is_refused(student, weights, tmp_path, monkeypatch):
    """What gates are for: the file is not the student's, although it converts and runs."""
    honest = Student.restore
    lower = type(TARGETS["onnx"]).lower

    def wrong(self, deployed, info):
        program = lower(self, deployed, info)
        program.lowered.tail[0].bias.add_(0.01)
        return program

    monkeypatch.setattr(type(TARGETS["onnx"]), "lower", wrong)
    (outcome,) = export([recipe_for(routing="split")], str(weights), tmp_path)
    failed = {result.name: result for result in outcome.refusals}
    assert "parity" in failed
    assert failed["parity"].figure == pytest.approx(0.01, rel=0.01)
    assert honest is Student.restore


def test_out_must_be_able_to_hold_builds(weights, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot hold builds .*: give another --out"):
        export([recipe_for()], str(weights), tmp_path / "file")


def test_steps_are_numbered_as_in_the_recipe_of_the_module(exported, weights, tmp_path, capsys):
    export([recipe_for(routing="pinned", degradation="haze")], str(weights), tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]
    assert all(f"\n{number}. " in str(steps.__doc__) for number in range(1, 7))


def test_quality_is_measured_against_the_clean_crops(exported):
    quality = exported("onnx").card["quality"]
    for row in quality.values():
        assert abs(row["student"] - row["build"]) < 1e-3
        assert row["input"] != row["student"]


def test_outcomes_tell_what_was_refused(exported):
    outcome = exported("onnx")
    assert outcome.refusals == []
    failed = replace(outcome.results[0], passed=False)
    assert replace(outcome, results=[failed]).refusals == [failed]
