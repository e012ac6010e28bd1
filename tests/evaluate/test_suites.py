"""Suites in TOML: what is shipped, and what a mistake is answered with."""

import pytest

from cpl_edge.errors import UserError
from cpl_edge.evaluate.suites import Gaussian, Pairs, load_suite, suite_names

MINIMAL = """
name = "mine"
about = "a test"
images = "clean"
[[degradations]]
kind = "gaussian"
label = "noise 25"
sigma = 25
"""


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_shipped_suites_are_valid_and_named_like_their_files():
    assert {"bundled", "cbsd68", "rain100l", "synthetic", "unseen", "composite", "clean"} <= set(
        suite_names()
    )
    for name in suite_names():
        assert load_suite(name).name == name


def test_cbsd68_is_the_published_protocol():
    suite = load_suite("cbsd68")
    assert all(isinstance(d, Gaussian) for d in suite.degradations)
    assert [d.sigma for d in suite.degradations] == [15, 25, 50]
    assert suite.crop_multiple == 16 and suite.limit == 0
    assert suite.folders == ("cbsd68",)
    assert next(p for p in suite.published if p.method == "CPL").psnr["noise 25"] == 31.50


def test_rain100l_reads_pairs():
    (pairs,) = load_suite("rain100l").degradations
    assert isinstance(pairs, Pairs) and pairs.degradation == "rain"
    assert load_suite("rain100l").folders == ("rain100l/input", "rain100l/target")


@pytest.mark.parametrize("name", ["bundled", "synthetic"])
def test_five_degradations_and_synthetic_is_said(name):
    suite = load_suite(name)
    applied = [d.degradation for d in suite.degradations]
    assert applied == ["noise", "blur", "rain", "haze", "lowlight"]
    assert all("synthetic" in d.label for d in suite.degradations if not isinstance(d, Gaussian))
    assert "synthetic" in suite.about


def test_unseen_is_what_the_five_degradations_lack():
    suite = load_suite("unseen")
    by_label = {d.label: d for d in suite.degradations}
    assert {d.sigma for d in suite.degradations if isinstance(d, Gaussian)} - {15, 25} == {35, 75}
    assert by_label["jpeg q10-40"].degradation == "jpeg"
    saved = by_label["noise 25 as jpeg q88"], by_label["rain as jpeg q90"]
    assert [d.jpeg for d in saved] == [88, 90]
    dark = [d for d in suite.degradations if d.exposure < 1]
    assert [(d.sigma, d.exposure) for d in dark] == [(15, 0.5), (25, 0.5)]


def test_composites_are_pairs_of_known_degradations():
    applied = [d.degradation for d in load_suite("composite").degradations]
    assert {"haze+rain", "lowlight+noise", "noise+jpeg", "blur+noise", "rain+noise"} <= set(applied)
    assert all(len(kind.split("+")) == 2 for kind in applied)


def test_of_clean_images_nothing_is_asked():
    suite = load_suite("clean")
    assert {d.kind for d in suite.degradations} == {"clean"}
    assert {d.degradation for d in suite.degradations} == {"clean"}
    assert [(d.jpeg, d.exposure) for d in suite.degradations] == [(0, 1), (92, 1), (0, 0.5)]


def test_bundled_needs_no_folder():
    assert load_suite("bundled").folders == ()


def test_a_file_of_the_user(tmp_path):
    suite = load_suite(write(tmp_path, MINIMAL))
    assert suite.metrics == ("psnr", "ssim") and suite.crop_multiple == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "sigm = 3", r"unknown key 'degradations\.0\.sigm': did you mean 'sigma'\?"),
        ("imagse = 'x'\n" + MINIMAL, r"unknown key 'imagse': did you mean 'images'\?"),
        ("qqqq = 1\n" + MINIMAL, r"unknown key 'qqqq': choose from name, about"),
        (
            MINIMAL + "[[published]]\nmethod = 'x'\npsn = {}\npsnr = {}",
            r"unknown key 'published\.0\.psn': did you mean 'psnr'\?",
        ),
        (MINIMAL.replace("25\n", "-25\n"), r"degradations\.0\.sigma: Input should be greater"),
        (MINIMAL.replace("gaussian", "gausian"), r"degradations\.0: .*'gaussian'"),
        (MINIMAL.replace("sigma = 25", ""), r"degradations\.0\.sigma: Field required"),
        (MINIMAL.replace('images = "clean"', ""), "images is missing"),
        (MINIMAL + MINIMAL[MINIMAL.index("[[") :], "two degradations have the label 'noise 25'"),
        ("metrics = ['ssim']\n" + MINIMAL, "metrics must contain 'psnr'"),
        (
            MINIMAL + "[[published]]\nmethod = 'x'\npsnr = {'noise 51' = 1.0}",
            "'x' for 'noise 51', which is no label",
        ),
        ("layout = '3task'\n" + MINIMAL, r"no layout '3task': did you mean '3tasks'\?"),
        (
            MINIMAL + "[[degradations]]\nkind='pairs'\nlabel='x'\ndegradation='x'\ninput='a'\n"
            "target='b'\npairing='rian'",
            r"no pairing 'rian': did you mean 'rain'\?",
        ),
        (
            "fallback = true\n" + MINIMAL + "images = 'more'",
            "fallback takes the place of images alone",
        ),
        (MINIMAL + "jpeg = 101", r"degradations\.0\.jpeg: Input should be less"),
        (MINIMAL + "exposure = 0", r"degradations\.0\.exposure: Input should be greater"),
        ("channels = 'l'\n" + MINIMAL, "channels: Input should be 'rgb' or 'y'"),
        ("name = ", "is not TOML"),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        load_suite(write(tmp_path, text))
    assert "\n" not in str(error.value) and "mine.toml" in str(error.value)


def test_unknown_suites():
    with pytest.raises(UserError, match=r"no suite 'cbsd86': did you mean 'cbsd68'\?"):
        load_suite("cbsd86")
    with pytest.raises(UserError, match="choose from 3tasks, 5tasks"):
        load_suite("qqqq")
    with pytest.raises(UserError, match=r"nothing\.toml does not exist"):
        load_suite("nothing.toml")
