import dataclasses

import numpy as np
import pytest
from PIL import ImageDraw

from cpl_edge.train.grid import COLUMNS, draw_grid
from cpl_edge.train.validation import Sample

RED, LIME, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def sample(kind="noise", height=48, width=64, **values):
    """Plain red, lime and blue images."""
    images = tuple(np.full((height, width, 3), colour, np.uint8) for colour in (RED, LIME, BLUE))
    plain = Sample(kind, images, 20.0, 26.5, ("routed to noise", "levels 0.10 0.90"), True)
    return dataclasses.replace(plain, **values)


@pytest.fixture(name="written")
def texts_with_their_boxes(monkeypatch):
    """Text, box and colour of all that is written."""
    written = []
    original = ImageDraw.ImageDraw.text

    def text(self, xy, words, fill, font):
        written.append((words, self.textbbox(xy, words, font), fill))
        return original(self, xy, words, fill, font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return written


def boxes(picture, colour):
    """Box of all pixels of a plain colour."""
    y, x = np.nonzero((np.asarray(picture) == colour).all(2))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def test_degraded_restored_and_clean_stand_side_by_side():
    picture = draw_grid("title", [sample()])
    degraded, restored, clean = (boxes(picture, colour) for colour in (RED, LIME, BLUE))
    assert degraded[2] < restored[0] < restored[2] < clean[0] < clean[2] < picture.width
    assert degraded[1::2] == restored[1::2] == clean[1::2]
    for left, top, right, bottom in (degraded, restored, clean):
        assert (right - left, bottom - top) == (3 * 64, 3 * 48)  # enlarged by a whole factor
        assert bottom < picture.height


def test_a_large_image_is_shown_by_its_middle_pixel_for_pixel():
    image = np.random.default_rng(0).integers(0, 256, (320, 260, 3), np.uint8)
    picture = np.asarray(draw_grid("title", [sample(images_HWC=(image, image, image))]))
    middle = image[48:272, 18:242]
    rows, columns = picture.shape[0] - 224, picture.shape[1] - 224
    first = [
        (y, x)
        for y in range(rows)
        for x in range(columns)
        if (picture[y, x : x + 224] == middle[0]).all()
    ]
    assert len(first) == 3
    for y, x in first:
        assert (picture[y : y + 224, x : x + 224] == middle).all()


def test_a_row_is_a_degradation():
    one, two = sample(), sample()
    red = np.full((48, 64, 3), RED, np.uint8)
    marked = [sample("haze", images_HWC=(red,) * 3), sample("haze", images_HWC=(red,) * 3)]
    narrow = draw_grid("title", [one])
    wide = draw_grid("title", [one, two])
    high = draw_grid("title", [one, marked[0]])
    both = draw_grid("title", [one, marked[0], two, marked[1]])
    assert wide.height == narrow.height < high.height == both.height
    assert narrow.width <= high.width < wide.width == both.width
    assert boxes(both, LIME) == boxes(wide, LIME)  # both of noise are in the first row


def test_what_is_written(written):
    draw_grid("student-s: step 5 of 9", [sample()])
    words = [word for word, *_ in written]
    assert words[0] == "student-s: step 5 of 9"
    beside = ["noise", "degraded 20.00 dB", "restored 26.50 dB (+6.50)"]
    assert words[2:] == [*beside, "routed to noise", "levels 0.10 0.90", *COLUMNS]


@pytest.mark.parametrize(
    ("right", "after", "colours"),
    [(True, 21.0, "gg"), (False, 21.0, "rg"), (None, 19.0, " r"), (True, 20.0, "gg")],
)
def test_colours_say_what_went_well(written, right, after, colours):
    draw_grid("title", [sample(right=right, after=after)])
    found = {word: fill for word, _, fill in written}

    def letter(colour):
        red, green, _ = colour
        return " " if abs(red - green) < 20 else "r" if red > green else "g"

    gain = next(fill for word, fill in found.items() if word.startswith("restored "))
    assert letter(found["routed to noise"]) + letter(gain) == colours


@pytest.mark.parametrize("side", [16, 40, 224, 320])
def test_no_text_is_cut_off_or_covered(written, side):
    sites = tuple(f"site {n}: prompt {n} (0.22), and some more words" for n in (3, 2, 1))
    samples = [
        sample("noise", side, side),
        sample("lowlight+haze+rain+and-much-more", side, side, selected=sites, right=None),
    ]
    picture = draw_grid("a title that is much longer than a tile is wide " * 3, samples)
    images = [boxes(picture, colour) for colour in (RED, LIME, BLUE)]
    assert len(written) == 2 + 5 + 6 + 3
    for number, (_, (left, top, right, bottom), _) in enumerate(written):
        assert min(left, top) >= 0
        assert right <= picture.width
        assert bottom <= picture.height
        for x0, y0, x1, y1 in images:
            assert right <= x0 or left >= x1 or bottom <= y0 or top >= y1
        for _, (x0, y0, x1, y1), _ in written[number + 1 :]:
            assert right <= x0 or left >= x1 or bottom <= y0 or top >= y1


def test_the_picture_is_rgb_on_white():
    picture = draw_grid("title", [sample()])
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == picture.getpixel((picture.width - 1, picture.height - 1))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
