import numpy as np
import pytest
import torch

from cpl_edge.data.degradations import degrade
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError
from cpl_edge.models.promptir import create_promptir
from cpl_edge.models.student import StudentConfig
from cpl_edge.models.zoo import create_student
from cpl_edge.train.validation import StudentValidation, TeacherValidation

KINDS = StudentConfig().degradations


class Fake(torch.nn.Module):
    """Routes everything to one degradation, and restores by a given function."""

    config = StudentConfig()

    def __init__(self, kind, restore=lambda x_BCHW, w_BSN: x_BCHW):
        super().__init__()
        self.index, self.restore = KINDS.index(kind), restore
        self.modes = []

    def route(self, x_BCHW):
        self.modes.append(self.training)
        assert not torch.is_grad_enabled()
        w_BSDM = torch.zeros(1, 1, len(KINDS), self.config.levels)
        w_BSDM[:, :, self.index] = torch.tensor([0.2, 0.5, 0.3])
        return w_BSDM.flatten(2)


@pytest.fixture(name="images", scope="module")
def parts_of_photos():
    return [image[100:148, 100:182] for _, image in bundled_photos()[:3]]


def psnr(x, y):
    return float(-10 * (x - y).square().mean().log10())


def test_a_student_that_does_nothing_gains_nothing(images):
    rows = StudentValidation(images, KINDS).run(Fake("haze"))
    assert list(rows) == list(KINDS)
    for kind, row in rows.items():
        assert row["before"] == row["after"]
        assert row["routed"] == float(kind == "haze")


def test_before_is_the_mean_psnr_of_the_degraded_images(images):
    rows = StudentValidation(images, ("noise", "haze")).run(Fake("noise"))
    for kind, row in rows.items():
        figures = []
        for seed, image in enumerate(images):
            clean = torch.from_numpy(image[:48, :80].copy()).permute(2, 0, 1)[None] / 255
            generator = torch.Generator().manual_seed(seed)
            figures.append(psnr(degrade(clean, kind, generator), clean))
        assert row["before"] == pytest.approx(np.mean(figures), abs=0.001)


def test_after_counts_what_the_student_restored_clipped(images):
    white = [image.copy() for image in images]
    for image in white:
        image[8:24, 8:24] = 255
    hazy = StudentValidation(white, ("haze",))
    cleans = {id(degraded): clean for _, degraded, clean in hazy.pairs}

    def oracle(x_BCHW, w_BSN):
        clean = cleans[id(x_BCHW)]
        return torch.where(clean == 1, torch.tensor(7.0), clean)  # beyond white is white

    assert hazy.run(Fake("haze", oracle))["haze"]["after"] == 100  # no error at all
    assert hazy.run(Fake("haze"))["haze"]["after"] < 30


def test_the_student_gets_the_weights_that_it_routed(images):
    given = []

    def restore(x_BCHW, w_BSN):
        given.append(w_BSN)
        return x_BCHW

    StudentValidation(images, ("noise",)).run(Fake("rain", restore))
    assert len(given) == len(images)
    assert all(w_BSN[0, 0].nonzero().flatten().tolist() == [6, 7, 8] for w_BSN in given)


def test_the_same_figures_every_time(images):
    student = create_student("nano")
    validation = StudentValidation(images, KINDS)
    first = validation.run(student)
    torch.manual_seed(1)
    assert validation.run(student) == first
    assert StudentValidation(images, KINDS).run(student) == first


@pytest.mark.parametrize("training", [True, False])
def test_the_students_mode_is_put_back(images, training):
    fake = Fake("noise").train(training)
    StudentValidation(images, ("noise",)).run(fake)
    assert fake.modes == [False] * len(images)
    assert fake.training == training


def test_images_are_cut_to_multiples_of_16_within_the_side(images):
    validation = StudentValidation([*images, np.zeros((16, 400, 3), np.uint8)], ("noise",), side=64)
    shapes = [tuple(degraded.shape) for _, degraded, _ in validation.pairs]
    assert shapes == [(1, 3, 48, 64)] * 3 + [(1, 3, 16, 64)]
    assert all(degraded.shape == clean.shape for _, degraded, clean in validation.pairs)


def test_an_image_too_small_is_refused():
    with pytest.raises(UserError, match="50x15 is too small"):
        StudentValidation([np.zeros((15, 50, 3), np.uint8)], ("noise",))


def test_a_student_without_prompts_is_validated_without_routing(images):
    student = create_student("nano", shape={"prompt": "none", "widths": (2, 2)})
    rows = StudentValidation(images[:1], ("noise",)).run(student)
    assert set(rows["noise"]) == {"before", "after"}


# Samples


def pixels(x_BCHW):
    return (x_BCHW[0] * 255).round().byte().permute(1, 2, 0).numpy()


def test_samples_show_what_was_restored_and_selected(images):
    validation = StudentValidation(images, KINDS)
    fake = Fake("haze", lambda x_BCHW, w_BSN: x_BCHW * 1.5).train()
    samples = validation.samples(fake)
    assert [sample.kind for sample in samples] == [kind for kind in KINDS for _ in range(2)]
    assert fake.modes == [False] * 10
    assert fake.training
    rows = validation.run(fake)
    for number, sample in enumerate(samples):
        _, x_BCHW, y_BCHW = next(
            pair for pair in validation.pairs[number % 2 * 5 :] if pair[0] == sample.kind
        )
        degraded, restored, clean = sample.images_HWC
        assert (degraded == pixels(x_BCHW)).all()
        assert (restored == pixels((x_BCHW * 1.5).clamp(0, 1))).all()
        assert (clean == pixels(y_BCHW)).all()
        assert sample.before == pytest.approx(psnr(x_BCHW, y_BCHW), abs=1e-3)
        assert sample.right == (sample.kind == "haze")
        words = "routed to haze" if sample.right else "routed to haze (wrong)"
        assert sample.selected == (words, "levels 0.20 0.50 0.30")
    only = StudentValidation(images[:1], KINDS)
    assert [round(sample.after, 3) for sample in only.samples(fake)] == [
        row["after"] for row in only.run(fake).values()
    ]
    assert validation.run(fake) == rows


@pytest.mark.parametrize(("kinds", "each"), [(1, 2), (6, 2), (7, 1), (14, 1)])
def test_of_many_degradations_one_sample_each(images, kinds, each):
    validation = StudentValidation([], [f"kind {number}" for number in range(kinds)])
    x_BCHW = torch.zeros(1, 3, 16, 16)
    for _ in range(3):
        for kind in validation.kinds:
            validation.add(kind, x_BCHW, x_BCHW)
    samples = validation.samples(Fake("noise"))
    assert [s.kind for s in samples] == [kind for kind in validation.kinds for _ in range(each)]


def test_samples_of_a_student_without_prompts(images):
    student = create_student("nano", shape={"prompt": "none", "widths": (2, 2)})
    (sample,) = StudentValidation(images[:1], ("noise",)).samples(student)
    assert (sample.selected, sample.right) == (("no prompts",), None)


@pytest.mark.parametrize("prompt", ["spm", "none"])
def test_samples_of_a_teacher_name_the_prompt_of_each_site(images, prompt):
    teacher = create_promptir("cpl-tiny", prompt=prompt).eval()
    validation = TeacherValidation([images[0][:16, :16]], ("noise", "haze"))
    samples = validation.samples(teacher)
    for sample, (_, x_BCHW, _) in zip(samples, validation.pairs, strict=True):
        assert sample.right is None
        if prompt == "none":
            assert sample.selected == ("no prompts",)
            continue
        with torch.no_grad():
            _, routes = teacher(x_BCHW, None, True)
        for site, route, words in zip((3, 2, 1), routes, sample.selected, strict=True):
            weight, index = route.w_BN[0].max(0)
            assert words == f"site {site}: prompt {index + 1} ({weight:.2f})"
