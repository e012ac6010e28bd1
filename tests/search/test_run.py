import json

import pytest

from cpl_edge.errors import UserError
from cpl_edge.models.teachers import load_teacher
from cpl_edge.models.zoo import load_student
from cpl_edge.search import run as module
from cpl_edge.search.__main__ import main
from cpl_edge.search.candidates import read_candidates
from cpl_edge.search.results import SearchResult
from cpl_edge.search.run import collect_finished, count_macs, search, time_finished


def start(place, **values):
    plain = {"data": place / "data", "out": place / "out", "results": place / "results"}
    return search(read_candidates("tiny.toml"), **{**plain, **values})


def call(*argv):
    with pytest.raises(SystemExit) as caught:
        main(["--suite", "tiny.toml", *map(str, argv)])
    return caught.value.code or 0


@pytest.fixture
def trained(monkeypatch):
    """Names of the run folders whose trainers took steps, in order, a name for each step."""
    steps = []
    original = module.Trainer.train_step

    def spy(self):
        steps.append(self.folder.name)
        return original(self)

    monkeypatch.setattr(module.Trainer, "train_step", spy)
    return steps


def test_a_search_trains_and_measures_every_run(place, trained):
    result = start(place)
    assert trained == [name for name in ("none-0", "ours-0", "none-1", "ours-1") for _ in range(3)]
    assert [run.name for run in result.runs] == list(dict.fromkeys(trained))
    assert (result.planned, result.images, result.crops) == (4, 3, 2)
    none, ours, *_ = result.runs
    assert [point.step for point in none.curve] == [1, 2, 3]
    assert [f.condition for f in none.figures] == ["noise 25", "haze", "haze+rain"]
    assert none.figures[0].input == ours.figures[0].input  # the same crops
    assert none.figures[0].weights == ()
    assert len(ours.figures[0].weights) == 10
    assert none.macs < ours.macs  # by the router
    weights = load_student(place / "out" / "ours-0" / "student.safetensors")
    assert ours.parameters == sum(p.numel() for p in weights.parameters())
    assert count_macs(weights) == ours.macs
    written = (place / "results" / "tiny.json").read_text()
    assert SearchResult.model_validate_json(written) == result
    assert sorted(path.name for path in (place / "results").iterdir()) == [
        "tiny-front.svg",
        "tiny-selection.svg",
        "tiny.json",
        "tiny.md",
    ]


def test_a_candidate_of_several_networks_takes_turns_as_the_mix_says(place, monkeypatch):
    """The mix is of its steps then, not of the batches that it asks the common images for."""
    text = (place / "tiny.toml").read_text()
    mix = "mix = { noise = 1, blur = 1, rain = 1, haze = 2, lowlight = 1 }"
    text = text.replace("steps = 3", f"steps = 3\n{mix}").replace(
        'recipe = { shape = { prompt = "none" } }',
        'recipe = { trained = "own", shape = { own = ["head", "tail"] } }',
    )
    (place / "tiny.toml").write_text(text)
    seen, original = [], module.ImageBank.degraded

    def degraded(self, kinds, *rest):
        seen.append(tuple(kinds))
        return original(self, kinds, *rest)

    monkeypatch.setattr(module.ImageBank, "degraded", degraded)
    none, ours, *_ = start(place).runs
    assert seen[:3] == [("noise",), ("blur",), ("rain",)]
    assert {len(kinds) for kinds in seen[3:6]} == {5}
    assert none.parameters > ours.parameters
    assert none.figures[0].told is not None
    assert none.figures[0].told != none.figures[0].wrong


def test_what_is_done_is_not_redone_and_a_stopped_run_goes_on(place, trained):
    whole = start(place, out=place / "whole")
    trained.clear()
    partial = start(place, max_minutes=0)  # one step of the first run
    assert trained == ["none-0"]
    assert (partial.planned, partial.runs) == (4, ())
    resumed = start(place)
    assert trained.count("none-0") == 3
    for a, b in zip(whole.runs, resumed.runs, strict=True):
        assert a.model_dump(exclude={"seconds"}) == b.model_dump(exclude={"seconds"})
    trained.clear()
    assert start(place).runs == resumed.runs
    assert trained == []


def test_a_result_that_was_not_written_is_measured_again_without_training(place, trained):
    first = start(place)
    (place / "out" / "ours-0" / "result.json").unlink()
    trained.clear()
    assert start(place).runs == first.runs
    assert trained == []


def test_another_recipe_in_a_run_folder_is_refused(place):
    start(place)
    text = (place / "tiny.toml").read_text()
    (place / "tiny.toml").write_text(text.replace("steps = 3", "steps = 4"))
    with pytest.raises(UserError, match="none-0 holds a run of another recipe: choose another"):
        start(place)
    (place / "out" / "none-0" / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"result\.json is no result of a search: remove it"):
        start(place)


def test_a_saved_recipe_without_a_later_word_is_the_same(place, trained):
    start(place)
    path = place / "out" / "none-0" / "result.json"
    saved = json.loads(path.read_text())
    del saved["recipe"]["balance_weight"]  # as if it had been written before there was that word
    path.write_text(json.dumps(saved))
    trained.clear()
    assert len(start(place).runs) == 4
    assert trained == []


def test_what_cannot_be_trained_is_told_before_the_first_step(place, trained):
    text = (place / "tiny.toml").read_text()
    words = 'recipe = { shape = { prompt = "soft" } }'
    (place / "tiny.toml").write_text(text.replace('about = "two levels"', words))
    with pytest.raises(UserError, match='chosen by the router: add selection = "router"'):
        start(place)
    assert trained == []


def test_a_candidates_variation_and_mix_are_its_own(place, monkeypatch):
    text = (place / "tiny.toml").read_text()
    mix = "{ noise = 2, blur = 1, rain = 1, haze = 1, lowlight = 1 }"
    text = text.replace('about = "two levels"', f"recipe = {{ mix = {mix} }}")
    (place / "tiny.toml").write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    seen = []
    original = module.Trainer.__init__

    def spy(self, task, bank, *rest):
        seen.append(bank.mix)
        original(self, task, bank, *rest)

    monkeypatch.setattr(module.Trainer, "__init__", spy)
    start(place)
    assert seen[0] is None
    assert seen[1]["noise"] == 2


def test_a_report_needs_no_images_and_trains_nothing(place, trained):
    start(place, max_minutes=None)
    trained.clear()
    (place / "out" / "ours-1" / "result.json").unlink()
    candidates = read_candidates("tiny.toml")
    found = collect_finished(candidates, place / "out", place / "again")
    assert [run.name for run in found.runs] == ["none-0", "ours-0", "none-1"]
    assert trained == []
    assert (place / "again" / "tiny.md").is_file()
    with pytest.raises(UserError, match="holds no search"):
        collect_finished(candidates, place / "nowhere", place / "again")


def test_the_verb_ends_with_where_the_results_are(place, capsys):
    assert call("--data", "data", "--max-minutes", "0") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "finished 0 of 4 runs in runs/tiny; run the same command to go on; results in runs/tiny"
    )
    assert call("--data", "data", "--results", "kept") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "finished 4 of 4 runs in runs/tiny; results in kept"
    assert "Routed by itself" in out
    assert call("--report", "--json", "all.json") == 0
    assert "finished 4 of 4 runs" in capsys.readouterr().out
    assert (place / "all.json").read_text() == (place / "runs" / "tiny" / "tiny.json").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--data FOLDER where the images are: it must hold photos"),
        (["--data", "nowhere"], "no folder nowhere/photos"),
        (["--report"], "runs/tiny holds no search"),
        (["--latency"], "runs/tiny holds no finished run"),
        (["--latency", "--report"], "choose one of --latency and --report"),
        (["--suite", "no.toml"], "no.toml does not exist"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_mistakes_end_with_2_and_one_line(place, capsys, argv, message):
    assert call(*argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


TEACHERS = """
[recipe]
network = "teacher"
teacher = "cpl-tiny"
folders = ["photos"]
holdout = 3
steps = 1
negatives = 2
batched_negatives = false
"""


def test_teachers_are_searched_alike(place, trained):
    text = (place / "tiny.toml").read_text()
    head, rest = text.split("[recipe]")[0], text[text.index("[[recipe.stages]]") :]
    words = 'recipe = { prompt = "none", negatives = 0 }'
    rest = rest.replace('recipe = { shape = { prompt = "none" } }', words)
    (place / "tiny.toml").write_text(head.replace("[0, 1]", "[0]") + TEACHERS + rest)
    none, ours = start(place).runs
    assert trained == ["none-0", "ours-0"]
    assert (none.sites, ours.sites, ours.choices) == (3, 3, 1)
    weights = load_teacher(place / "out" / "ours-0" / "teacher.safetensors")
    assert ours.parameters == sum(p.numel() for p in weights.parameters())
    assert none.figures[0].weights == ()
    assert none.figures[0].wrong is None
    assert len(ours.figures[0].weights) == 3 * 5
    assert ours.figures[0].wrong is not None
    assert sum(ours.figures[0].selected) == pytest.approx(3)
    assert [point.step for point in ours.curve] == [1]
    table = (place / "results" / "tiny.md").read_text()
    assert "| wrong prompts, dB | what it is |" in table
    assert "site 3" in (place / "results" / "tiny-selection.svg").read_text()
    assert call("--latency") == 2
    with pytest.raises(UserError, match="trains teachers, which are not exported: no --latency"):
        time_finished(read_candidates("tiny.toml"), None, place / "out", place / "results")
