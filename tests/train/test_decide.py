import json

import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError
from cpl_edge.models.shape import PARTS
from cpl_edge.models.zoo import create_student, load_student, save_student
from cpl_edge.train import decide as module
from cpl_edge.train.card import make_card
from cpl_edge.train.decide import Outcomes, decide, fit, look, main
from cpl_edge.train.recipe import StudentRecipe


def in_doubt(lost_db, crops=40):
    """Crops of two kinds in turn, each kind as likely to be taken for the other one.

    Taking the second kind for the first loses ``lost_db``, the opposite loses 1 dB.
    """
    label_K = torch.arange(crops) % 2
    lead_K = torch.linspace(-0.3, 0.5, crops // 2).repeat_interleave(2)
    names_KD = torch.nn.functional.one_hot(label_K, 2) * lead_K[:, None]
    psnr_KD = torch.full((crops, 2), 30.0)
    psnr_KD[label_K == 0, 1] -= 1
    psnr_KD[label_K == 1, 0] -= lost_db
    return Outcomes(names_KD, psnr_KD, label_K, 2 * crops)


def test_the_choice_whose_mistakes_cost_more_must_be_likelier():
    outcomes = in_doubt(lost_db=10.0)
    offset_D = fit(outcomes)
    assert offset_D[0] < offset_D[1]
    assert float(offset_D.sum()) == pytest.approx(0, abs=1e-5)
    before, after = outcomes.mean(torch.zeros(2)), outcomes.mean(offset_D)
    assert before == pytest.approx(30 - 5.5 * 15 / 40, abs=0.2)  # 15 of 40 leads are negative
    assert after > 29.4  # the second in every doubt: 29.5


def test_mistakes_that_cost_the_same_leave_the_router_alone():
    assert float(fit(in_doubt(lost_db=1.0)).abs().max()) < 0.02


def test_no_single_crop_outweighs_all_others():
    bad, worse = in_doubt(lost_db=1.0), in_doubt(lost_db=1.0)
    bad.psnr_KD[1, 0], worse.psnr_KD[1, 0] = 30.0 - 15, -300.0
    assert torch.equal(fit(bad), fit(worse))
    assert float(fit(bad)[1]) > 0.2


@pytest.fixture(name="student")
def student_in_doubt():
    """A nano student whose prompts do something and whose router is sure of nothing."""
    student = create_student("nano").eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "project" in name or "shift" in name or "tail" in name:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return student


def test_outcomes_are_what_each_choice_restores(student, monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 32)
    bank = ImageBank([dict(bundled_photos())["coffee"]])
    outcomes = look(student, bank, 15, torch.Generator().manual_seed(3))
    assert (outcomes.seen, len(outcomes.label_K)) == (20, 20)
    again = torch.Generator().manual_seed(3)
    x_BCHW, y_BCHW, label_B = bank.degraded(student.config.degradations, 20, 32, again)
    assert torch.equal(outcomes.label_K, label_B)
    with torch.no_grad():
        logits_BSL = student.logits(x_BCHW)
        for j in range(5):
            restored = student.restore(x_BCHW, student.forced(logits_BSL, torch.full((20,), j)))
            mse_B = (restored.clamp(0, 1) - y_BCHW).square().mean((1, 2, 3))
            torch.testing.assert_close(
                outcomes.psnr_KD[:, j], -10 * mse_B.log10(), rtol=0, atol=1e-3
            )
    chosen = (student.names(logits_BSL)[:, 0] + torch.eye(5)[2] * 99).argmax(1)
    assert set(chosen.tolist()) == {2}
    assert outcomes.right(torch.eye(5)[2] * 99) == int((label_B == 2).sum())


def test_each_choice_restores_with_what_that_degradation_owns(monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 32)
    student = create_student("nano", shape={"own": PARTS}).requires_grad_(False).eval()
    for parameter in student.own.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    bank, again = ImageBank([dict(bundled_photos())["coffee"]]), torch.Generator().manual_seed(3)
    outcomes = look(student, bank, 20, torch.Generator().manual_seed(3))
    x_BCHW, y_BCHW, _ = bank.degraded(student.config.degradations, 20, 32, again)
    for j in range(5):
        told = student.told(j).requires_grad_(False)
        mse_B = (told(x_BCHW).clamp(0, 1) - y_BCHW).square().mean((1, 2, 3))
        torch.testing.assert_close(outcomes.psnr_KD[:, j], -10 * mse_B.log10(), rtol=0, atol=1e-3)
    assert float(outcomes.psnr_KD.std(1).min()) > 1e-2


def test_nothing_is_decided_where_the_router_is_sure(student, monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 32)
    with torch.no_grad():
        student.router.head.bias[0] += 50
    bank = ImageBank([dict(bundled_photos())["coffee"]])
    with pytest.raises(UserError, match="sure of every crop"):
        look(student, bank, 20, torch.Generator())


@pytest.fixture(name="run")
def finished_run(student, tmp_path):
    folder = tmp_path / "run"
    save_student(student, folder / "student.safetensors")
    recipe = StudentRecipe(student="nano", folders=["photos"], holdout=2)
    facts = {"recipe": recipe.model_dump(mode="json"), "folder": str(folder)}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "log.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    (tmp_path / "photos").mkdir()
    for name in ("coffee", "chelsea"):
        image = np.ascontiguousarray(dict(bundled_photos())[name][:96, :96])
        Image.fromarray(image).save(tmp_path / "photos" / f"{name}.png")
    return folder


def test_only_the_names_change_and_a_second_call_starts_anew(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "_SIDE", 32)
    before = load_student(run / "student.safetensors").state_dict()
    found = decide(run, tmp_path, 20, 0)
    after = load_student(run / "student.safetensors").state_dict()
    moved = after.pop("router.head.bias") - before.pop("router.head.bias")
    torch.testing.assert_close(
        moved[:5], torch.tensor(list(found["offsets"].values())), rtol=0, atol=1e-3
    )
    assert float(moved[:5].abs().max()) > 0.01
    assert not moved[5:].any()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert found["psnr"][1] >= found["psnr"][0]
    assert make_card(run, [], "", [])["training"]["decision"] == found
    with pytest.raises(SystemExit) as caught:
        main(["--run", str(run), "--data", str(tmp_path), "--crops", "20"])
    assert caught.value.code == 0
    assert "20 of 20 crops were in doubt" in capsys.readouterr().out
    again = load_student(run / "student.safetensors").router.head.bias
    kept = load_student(run / "undecided.safetensors").router.head.bias
    torch.testing.assert_close(again - kept, moved, rtol=0, atol=1e-3)


def test_another_recipe_says_what_crops_look_like(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 32)
    other = tmp_path / "other.toml"
    lines = (
        'student = "nano"',
        'folders = ["photos"]',
        "holdout = 2",
        "variation = { jpeg = 1.0 }",
    )
    other.write_text("\n".join(lines), encoding="utf-8")
    own, others = decide(run, tmp_path, 20, 0), decide(run, tmp_path, 20, 0, str(other))
    assert own["variation"] is None
    assert others["variation"]["jpeg"] == 1.0
    assert own["psnr"][0] != others["psnr"][0]


def test_what_cannot_be_decided_is_told(run, tmp_path):
    with pytest.raises(UserError, match="holds no finished training"):
        decide(tmp_path, tmp_path, 20, 0)
    with pytest.raises(UserError, match="crops of layout 3tasks are not looked at"):
        decide(run, tmp_path, 20, 0, "cpl-3tasks")
    with pytest.raises(UserError, match="crops of 256 do not fit an image whose side is 96"):
        decide(run, tmp_path, 20, 0)
    save_student(create_student("nano", shape={"prompt": "soft"}), run / "student.safetensors")
    with pytest.raises(UserError, match="selects prompts, not degradations"):
        decide(run, tmp_path, 20, 0)
