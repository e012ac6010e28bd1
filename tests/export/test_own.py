"""Builds of a student whose degradations have convolutions of their own."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cpl_edge.data.images import read_photo, write_photo
from cpl_edge.errors import UserError
from cpl_edge.export.build import check, deployable, describe, lower, pinned_weights, routed
from cpl_edge.export.crops import make_crops
from cpl_edge.export.gate import Build
from cpl_edge.export.gates import lowered
from cpl_edge.export.measurement import psnr
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.export.targets.coreml import missing_weights
from cpl_edge.models.student import Student
from cpl_edge.restore.__main__ import main
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import open_runtime

SIZE = (64, 72)
KINDS = ("haze", "noise", "blur")
RESTORERS = [f"restore_{name}" for name in KINDS]
BUILDS = [
    *[("litert", precision) for precision in ("fp32", "dynamic", "w8a8")],
    *[(target, precision) for target in ("executorch", "coreml") for precision in ("fp32", "w8a8")],
]
builds = pytest.mark.parametrize(("target", "precision"), BUILDS)


def recipe_for(target="litert", **changes):
    (recipe,) = read_recipes(target, size="64x72")
    return recipe.model_copy(update=changes)


def image(seed=0):
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def told(student, x_BCHW, degradation):
    """Weights of a degradation, and what the student restores with them."""
    w_BSN = student.forced(student.logits(x_BCHW), torch.tensor([degradation]))
    return w_BSN.numpy(), student.restore(x_BCHW, w_BSN).numpy()


def model_of(outcome):
    return outcome.folder / outcome.card["model"]


# What becomes a file


def test_a_file_of_several_networks_does_not_route_by_itself(owning, student):
    assert routed(recipe_for(), owning).routing == "split"
    assert routed(recipe_for(), student).routing == "auto"
    for_one = recipe_for(routing="told", degradation="haze")
    assert routed(for_one, owning) == for_one


@torch.no_grad()
def test_each_degradation_is_deployed_as_a_plain_student(owning, student):
    found = deployable(owning, recipe_for(routing="split"), None)
    assert list(found) == list(KINDS)
    for index, plain in enumerate(found.values()):
        w_BSN, expected = told(owning, image(), index)
        y_BCHW = plain.restore(image(), torch.from_numpy(w_BSN))
        assert not plain.config.own
        torch.testing.assert_close(y_BCHW.numpy(), expected, atol=1e-5, rtol=0)
    assert deployable(student, recipe_for(), None) == {None: student}
    asked = recipe_for(routing="told", degradation="noise")
    one = owning.told(1)
    assert deployable(one, asked, None) == {"noise": one}
    asked = recipe_for(routing="pinned", degradation="noise")
    (pinned,) = deployable(owning, asked, torch.eye(9)[4]).items()
    assert pinned[0] == "noise"
    expected = owning.restore(image(), torch.eye(9)[4].expand(1, 1, 9))
    torch.testing.assert_close(pinned[1](image()), expected, atol=1e-4, rtol=0)


def test_what_cannot_work_is_refused_as_of_other_students(owning, tmp_path):
    assert check(recipe_for(precision="w8a8"), owning) is TARGETS["litert"]
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'target = "litert"\nprecision = "w8"\nweights = "int8"\nkeep_float = ["haed"]\n', "utf-8"
    )
    with pytest.raises(UserError, match="'haed' matches no module: did you mean 'head'"):
        check(recipe_for(precision="w8", quantize=str(toml)), owning)
    with pytest.raises(UserError, match="'hase': did you mean 'haze'"):
        check(recipe_for(routing="pinned", degradation="hase"), owning)


@pytest.mark.parametrize("routing", ["split", "told", "pinned"])
def test_a_description_tells_of_functions_where_there_are_several(owning, routing):
    degradation = None if routing == "split" else "noise"
    recipe = recipe_for(routing=routing, degradation=degradation)
    info = describe(recipe, TARGETS["litert"], owning, Path(__file__))
    assert info.own == (routing == "split")
    assert set(RESTORERS).issubset(info.functions) == (routing == "split")


@pytest.fixture(name="lowered_build")
def a_build_without_a_file(owning, tmp_path):
    """Not converted; the students of two degradations are mistaken for each other, if asked to."""
    recipe, target = recipe_for("coreml", routing="split", precision="fp32"), TARGETS["coreml"]
    info = describe(recipe, target, owning, Path(__file__))
    with torch.no_grad():
        crops = {int(owning.route(c.x_BCHW).argmax()) // 3: c for c in make_crops(KINDS, SIZE)}
    assert set(crops) == {0, 1, 2}  # each is selected, so that gates see all functions

    def make(order=(0, 1, 2)):
        students = list(deployable(owning, recipe, None).values())
        deployed = {name: (students[i], None) for name, i in zip(KINDS, order, strict=True)}
        return Build(
            recipe, target, owning, lower(target, info, deployed), tmp_path, [*crops.values()]
        )

    return make


def test_a_mistaken_degradation_is_refused(lowered_build):
    assert lowered(lowered_build()).passed
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0)):
        result = lowered(lowered_build(order))
        assert (result.passed, result.limit) == (False, 1e-4)
        assert result.figure > 1e-2


# The files


@builds
def test_all_gates_pass(exported_each, target, precision):
    outcome = exported_each(target, precision)
    # This router is untrained: it sends crops to a function that has no fixed ranges for them.
    spared = {"parity"} if precision == "w8a8" else set()
    assert {result.name for result in outcome.refusals} <= spared
    ran = {result.name for result in outcome.results if result.passed} | spared
    assert {"interface", "metadata", "parity", "drop_worst", "routing", "delegation"} <= ran
    assert outcome.folder.name.startswith(f"three-{target}-{precision}-split-64x72")
    card = json.loads((outcome.folder / "card.json").read_text())
    assert card["entry_points"] == ["route", "restore"]
    assert set(card["outside"]) == {"route", *RESTORERS}
    assert card["info"]["own"] is True
    assert set(card["quality"]) == set(KINDS)
    if precision == "w8a8":
        how = card["quantization"]
        assert "calibration" not in how  # of one alone
        assert set(how["calibrations"]) == set(RESTORERS)
        for name, crops in how["calibrations"].items():
            assert name.removeprefix("restore_") in crops["degradations"]


@builds
def test_the_weights_choose_what_restores(exported_each, owning, target, precision):
    limit = {"fp32": 100, "dynamic": 38, "w8a8": 35}[precision]  # another function: below 30
    with closing(open_runtime(model_of(exported_each(target, precision)))) as runtime:
        assert runtime.info.own
        assert runtime.info.degradations == KINDS
        own_crops = [make_crops((kind,), SIZE, None, held_out=True)[0].x_BCHW for kind in KINDS]
        for place, x_BCHW in enumerate((*own_crops, image(), image(1) ** 3)):
            each = [told(owning, x_BCHW, index) for index in range(3)]
            for index, (w_BSN, expected) in enumerate(each):
                if precision == "w8a8" and index != place:
                    continue  # fixed ranges hold for a degradation's own crops
                (y_BCHW,) = runtime.run("restore", x_BCHW.numpy(), w_BSN)
                assert psnr(y_BCHW, expected) > limit
                others = [y for i, (_, y) in enumerate(each) if i != index]
                assert all(psnr(y_BCHW, other) < 30 for other in others)
            if precision == "w8a8":
                continue
            mixed = 0.3 * each[0][0] + 0.4 * each[2][0] + 0.3 * each[1][0]
            with torch.no_grad():
                expected = owning.restore(x_BCHW, torch.from_numpy(mixed)).numpy()
            (y_BCHW,) = runtime.run("restore", x_BCHW.numpy(), mixed)
            assert psnr(y_BCHW, expected) > limit


@builds
def test_the_router_is_the_students(exported_each, owning, target, precision):
    with closing(open_runtime(model_of(exported_each(target, precision)))) as runtime:
        w_BSN, logits_BSL = runtime.run("route", image().numpy())
        with torch.no_grad():
            np.testing.assert_allclose(logits_BSL, owning.logits(image()), atol=1e-4)
            np.testing.assert_allclose(w_BSN, owning.route(image()), atol=1e-4)
        with pytest.raises(ValueError, match="no entry point 'forward' in this file"):
            runtime.run("forward", image().numpy())


@pytest.mark.parametrize("target", ["litert", "executorch", "coreml"])
def test_what_all_share_is_stored_once(exported_each, owning, target):
    plain = sum(p.numel() for p in owning.of(0).parameters())
    own = sum(p.numel() for p in owning.parameters())
    shared = own - sum(p.numel() for p in owning.own.parameters())
    assert shared > 0.5 * plain
    graphs = 22_000 * 4  # bytes that a graph takes, whatever the student
    assert exported_each(target).card["bytes"] < 4 * own + graphs


def test_the_weights_of_each_are_looked_for_in_its_own_function(exported_each, lowered_build):
    path, program = model_of(exported_each("coreml")), lowered_build().program
    assert missing_weights(path, program) == []
    program.member("restore_noise").lowered.tail[0].weight[0, 0, 0, 0] += 0.1
    (missing,) = missing_weights(path, program)
    assert missing.startswith("restore_noise: tail")


@pytest.mark.parametrize("routing", ["told", "pinned"])
def test_a_build_for_one_degradation_is_a_plain_one(exported_each, owning, routing):
    outcome = exported_each("litert", routing=routing, degradation="noise")
    assert outcome.refusals == []
    with closing(open_runtime(model_of(outcome))) as runtime:
        assert not runtime.info.own
        (y_BCHW,) = runtime.run("forward", image().numpy())
    if routing == "told":
        _, expected = told(owning, image(), 1)
    else:
        w_N = pinned_weights(owning, "noise", SIZE)
        with torch.no_grad():
            expected = owning.restore(image(), w_N[None, None]).numpy()
    np.testing.assert_allclose(y_BCHW, expected, atol=1e-4)


# Restoring


def test_photos_are_restored_by_what_was_told_or_selected(exported_each, owning, tmp_path, capfd):
    path, photo = model_of(exported_each("litert")), (image(3)[0] * 255).byte()
    photo_HWC = photo.permute(1, 2, 0).numpy()
    write_photo(tmp_path / "in.png", photo_HWC)
    with closing(open_runtime(path)) as runtime:
        runtime.info = replace(runtime.info, halo=Student(owning.config).halo)
        restored = {name: Restorer(runtime).restore(photo_HWC, name) for name in (*KINDS, "auto")}
    margin = owning.halo
    inner = (slice(margin, -margin), slice(margin, -margin))
    x_BCHW = photo[None].float() / 255
    for index, name in enumerate(KINDS):
        _, expected = told(owning, x_BCHW, index)
        made_HWC = (expected[0].transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        difference = made_HWC[inner].astype(int) - restored[name].image_HWC[inner]
        assert np.abs(difference).max() <= 1
    selected = restored["auto"].degradation
    assert (restored["auto"].image_HWC == restored[selected].image_HWC).all()
    for name in ("blur", "auto"):
        words = ["-o", tmp_path / f"{name}.png", "--model", path, "--degradation", name]
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in (tmp_path / "in.png", *words)])
        assert not caught.value.code
        assert f"{name if name != 'auto' else selected} (" in capfd.readouterr().out
        found = read_photo(tmp_path / f"{name}.png").image_HWC.astype(int)
        assert np.abs(found - restored[name].image_HWC)[inner].max() <= 2  # of a smaller halo
