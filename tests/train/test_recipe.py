import json
from pathlib import Path

import pytest

from cpl_edge.data.degradations import KINDS
from cpl_edge.errors import UserError
from cpl_edge.recipe import read_toml
from cpl_edge.shipped import shipped_names
from cpl_edge.train.recipe import Stage, StudentRecipe, read_recipe
from cpl_edge.train.start import create_task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="read")
def reader(tmp_path):
    def read(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return read_toml(str(path), StudentRecipe, "train")

    return read


def refusal(read, text):
    with pytest.raises(UserError) as caught:
        read(text)
    message = str(caught.value)
    assert "\n" not in message
    assert "mine.toml" in message
    return message


def test_some_recipe_ships():
    assert "student-s" in shipped_names("train", ".toml")


@pytest.mark.parametrize("name", shipped_names("train", ".toml"))
def test_shipped_recipes_are_whole(name):
    recipe = read_recipe(name)
    if isinstance(recipe, StudentRecipe):  # what it starts and learns from, other recipes train
        distil = recipe.distil and recipe.distil.model_copy(update={"teacher": "m"})
        recipe = recipe.model_copy(update={"weights": None, "take": None, "distil": distil})
    assert set(create_task(recipe).degradations) <= set(KINDS)
    assert recipe.checkpoint_every < recipe.steps


def test_what_is_not_said_has_its_default(read):
    assert read("") == StudentRecipe()
    recipe = read("steps = 10\nlr = 1\n[[stages]]\ncrop = 32\n[[stages]]\nstart = 0.5\nbatch = 3")
    assert (recipe.steps, recipe.lr) == (10, 1.0)
    assert recipe.stages == [Stage(crop=32), Stage(start=0.5, batch=3)]


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("stepss = 3", "stepss", "steps"),
        ("learning_rat = 3\n", "learning_rat", None),
        ("routing_wight = 0.1", "routing_wight", "routing_weight"),
        ("[[stages]]\ncrops = 32", "stages.0.crops", "crop"),
        ("[[stages]]\n[[stages]]\nstart = 0.5\ncontxt = 64", "stages.1.contxt", "context"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(read, text, key, near):
    message = refusal(read, text)
    assert f"unknown key {key!r}" in message
    assert (f"did you mean {near!r}?" if near else "choose from folders, layout") in message


def test_a_stages_key_outside_a_stage_is_not_answered_with_itself(read):
    message = refusal(read, "batch = 16")
    assert "unknown key 'batch'" in message
    assert "did you mean 'batch'" not in message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('steps = "60000"', "steps"),
        ("steps = 100.5", "steps"),
        ("steps = 0", "steps"),
        ("steps = true", "steps"),
        ("lr = 0", "lr"),
        ("lr = inf", "lr"),
        ("lr = nan", "lr"),
        ('lr = "fast"', "lr"),
        ("student = 1", "student"),
        ('folders = "train"', "folders"),
        ("warmup = 1.0", "warmup"),
        ('loss = "l2"', "loss"),
        ('precision = "fp16"', "precision"),
        ("stages = 3", "stages"),
        ("[[stages]]\ncrop = 0", "stages.0.crop"),
        ("[[stages]]\ncrop = 50", "stages.0.crop"),
        ("[[stages]]\ncrop = 12", "stages.0.crop"),  # too little for the router
        ("[[stages]]\nstart = 1.0", "stages.0.start"),
        ("[[stages]]\ncontext = 32", "stages.0"),
        ("[[stages]]\ncontext = 65", "stages.0"),
    ],
)
def test_a_wrong_value_is_named(read, text, key):
    assert f"mine.toml: {key}: " in refusal(read, text)


@pytest.mark.parametrize(
    "text",
    [
        "stages = []",
        "[[stages]]\nstart = 0.1",
        "[[stages]]\n[[stages]]",
        "[[stages]]\n[[stages]]\nstart = 0.5\n[[stages]]\nstart = 0.4",
    ],
)
def test_stages_start_at_0_and_rise(read, text):
    assert "stages must start at 0 and rise" in refusal(read, text)


def test_a_step_belongs_to_the_last_stage_that_has_begun():
    stages = [Stage(batch=1), Stage(start=0.25, batch=2), Stage(start=0.8, batch=3)]
    recipe = StudentRecipe(steps=100, stages=stages)
    batches = [recipe.stage(step).batch for step in range(100)]
    assert batches == [1] * 25 + [2] * 55 + [3] * 20


def test_a_recipe_does_not_change_after_reading():
    with pytest.raises(ValueError, match="frozen"):
        StudentRecipe().steps = 3


@pytest.mark.parametrize("text", ["steps = ", "steps 3", "steps = 1\nsteps = 2"])
def test_what_is_not_toml_is_refused(read, text):
    assert "is not TOML" in refusal(read, text)


def test_a_binary_file_or_a_folder_is_refused(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\0")
    (tmp_path / "folder.toml").mkdir()
    for name, message in (("bytes.toml", "is not TOML"), ("folder.toml", "does not exist")):
        with pytest.raises(UserError, match=message):
            read_toml(str(tmp_path / name), StudentRecipe, "train")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml does not exist"):
        read_toml(str(tmp_path / "none.toml"), StudentRecipe, "train")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'student-s'"):
        read_toml("studnet-s", StudentRecipe, "train")


OWN = 'trained = "own"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN, "'shape' names as own: name some"),
        (OWN + "shape = { own = [] }", "'shape' names as own: name some"),
        (OWN + 'layout = "5tasks"\nshape = { own = ["tail"] }', "leave layout and distil out"),
        (OWN + 'shape = { own = ["tail"] }\ndistil = { teacher = "m" }', "leave layout and distil"),
    ],
)
def test_only_what_is_owned_can_be_trained_in_turns(read, text, message):
    assert message in refusal(read, text)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ('["tail", "tail"]', "each part or block once"),
        ('["router"]', "'router': choose from head"),
        ('{ noise = ["tail"], snow = ["tail"] }', "choose from noise, blur"),
    ],
)
def test_only_parts_and_blocks_are_owned_by_degradations_each_once(read, own, message):
    recipe = read(OWN + f'student = "nano"\nshape = {{ own = {own} }}')
    with pytest.raises(UserError, match=f"no student nano of this shape: own .*{message}"):
        create_task(recipe)


def decisive(values):
    """What of a recipe decides weights, wherever files lie."""
    plain = {key: value for key, value in values.items() if key != "weights"}
    teacher = plain["distil"] and Path(plain["distil"]["teacher"]).stem
    return plain | {"distil": plain["distil"] and plain["distil"] | {"teacher": teacher}}


def kept(old, new):
    """Of new values those whose key was there before; keys of later versions have defaults."""
    if not isinstance(old, dict):
        return new
    return {key: kept(value, new[key]) for key, value in old.items()}


@pytest.mark.parametrize(
    ("student", "recipe"),
    [
        ("nano", "student-nano-taught"),
        ("s", "student-s-beside"),
        ("m", "student-m"),
        ("nano-each", "student-nano-each-night"),
        ("s-each", "student-s-each-night"),
        ("nano-lean", "student-nano-lean-night"),
        ("s-lean", "student-s-lean-night"),
        ("m-lean", "student-m-lean-router"),
    ],
)
def test_a_shipped_student_is_of_the_shipped_recipe(student, recipe):
    card = json.loads((ROOT / f"weights/{student}.json").read_text("utf-8"))
    trained = decisive(card["training"]["recipe"])
    found = decisive(read_recipe(recipe).model_dump(mode="json"))
    assert kept(trained, found) == trained


@pytest.mark.parametrize("text", ["cut = true", "keep = 0.5"])
def test_what_is_said_of_weights_needs_weights(read, text):
    assert "give both" in refusal(read, text)
