import pytest

from cpl_edge.errors import UserError
from cpl_edge.evaluate.suites import suite_names
from cpl_edge.search.candidates import read_candidates
from cpl_edge.train.start import create_task


def read(place, *changes):
    path = place / "tiny.toml"
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path.write_text(text)
    return read_candidates("tiny.toml")


def test_all_candidates_come_before_the_second_seed(place):
    names = [planned.name for planned in read(place).plan()]
    assert names == ["none-0", "ours-0", "none-1", "ours-1"]


def test_a_candidates_own_seeds_replace_the_lists(place):
    one = read(place, ('about = "no prompts"', "seeds = [7]"))
    assert [planned.name for planned in one.plan()] == ["none-7", "ours-0", "ours-1"]


def test_a_seed_that_is_given_twice_is_trained_once(place):
    listed = read(place, ("seeds = [0, 1]", "seeds = [1, 1]"))
    assert [planned.name for planned in listed.plan()] == ["none-1", "ours-1"]


def test_a_candidates_words_and_shape_are_merged_with_the_lists(place):
    none, ours, *_ = read(place).plan()
    assert none.recipe.steps == ours.recipe.steps == 3
    assert none.recipe.shape.model_dump(exclude_none=True) == {
        "prompt": "none",
        "widths": (4, 6),
        "blocks": (1, 1, 1),
        "levels": 2,
    }
    assert none.recipe.seed == ours.recipe.seed == 0
    assert create_task(none.recipe).network.config.prompt == "none"
    assert create_task(ours.recipe).network.config.prompt == "levels"


def test_validations_are_at_each_quarter(place):
    assert read(place, ("steps = 3", "steps = 41")).plan()[0].recipe.validate_every == 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("images = 2", "image = 2", "unknown key 'image': did you mean 'images'"),
        ("seeds = [0, 1]", "seeds = []", "seeds: Tuple should have at least 1 item"),
        ("seeds = [0, 1]\n", "", "seeds: Field required"),
        ('about = "no prompts"', "seeds = []", "candidates.0.seeds: Tuple should have at least 1"),
        ('name = "ours"', 'name = "none"', "two candidates are called 'none': make them unique"),
        ('name = "ours"', 'name = "../x"', "candidates.1.name: String should match pattern"),
        ('label = "haze"', 'label = "noise 25"', "two conditions have the label 'noise 25'"),
        ('degradation = "haze"', 'degradation = "smog"', "no degradation 'smog'"),
        ('degradation = "haze"', 'degradation = "haze"\nsigma = 5', "sigma is for noise"),
        ('degradation = "haze"', 'degradation = "haze"\ninput = "x"', "belong together"),
        ("side = 32", "side = 40", "side: Input should be a multiple of 16"),
        ("steps = 3", "stepz = 3", "[recipe]: unknown key 'stepz': did you mean 'steps'?"),
        ("holdout = 3", 'layout = "5tasks"', "a search trains on folders: leave 'layout' out"),
        ("holdout = 3", 'network = "qat"', "[recipe]: no network 'qat': "),
        ("holdout = 3", "seed = 3", "[recipe]: seeds are given by 'seeds', not in a recipe"),
        (
            'prompt = "none"',
            'promt = "none"',
            "candidate 'none': unknown key 'shape.promt': did you mean 'prompt'?",
        ),
        ('prompt = "none"', 'prompt = "hard"', "candidate 'none': shape.prompt: Input should be"),
        (
            "recipe = {",
            "recipe = { steps = 9,",
            "candidate 'none' sets 'steps', which all share: set it in [recipe]",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(place, old, new, message):
    with pytest.raises(UserError) as caught:
        read(place, (old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_must_show_something_seen(place):
    text = (place / "tiny.toml").read_text()
    for kind in ("noise", "haze"):
        text = text.replace(f'degradation = "{kind}"\n', f'degradation = "{kind}"\nseen = false\n')
    (place / "tiny.toml").write_text(text)
    with pytest.raises(UserError, match="no condition is 'seen'"):
        read_candidates("tiny.toml")


@pytest.mark.parametrize("name", ["search-prompts", "search-prompt-forms"])
def test_the_lists_that_ship_can_be_trained(name):
    listed = read_candidates(name)
    assert listed.name == name
    plan = listed.plan()
    assert min(len({p.recipe.seed for p in plan if p.candidate == c.name}) for c in
               listed.candidates) >= 2  # fmt: skip
    costs = []
    for planned in plan[: len(listed.candidates)]:
        student = create_task(planned.recipe).network
        convolutions = [
            p for n, p in student.named_parameters() if "router" not in n and p.ndim > 3
        ]
        costs.append(sum(p.numel() for p in convolutions))
    assert len(set(costs)) == 1  # at equal cost


def test_an_unknown_list_is_told(place):
    with pytest.raises(UserError, match=r"no list of candidates 'search-promts': did you mean"):
        read_candidates("search-promts")


def test_lists_are_no_suites_of_evaluate():
    assert not any(name.startswith("search") for name in suite_names())
