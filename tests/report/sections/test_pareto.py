from cpl_edge.report.results import Results
from cpl_edge.report.sections.pareto import pareto


def test_builds_on_a_suite(found, rows_of):
    rows = rows_of(pareto(found), "Quality on bundled against latency: the points")
    assert [(row["build"], row["ms"], row["on the front"]) for row in rows] == [
        ("s-litert-w8a8-auto", "5.80", "yes"),
        ("s-litert-fp32-auto", "18.90", "yes"),
    ]


def test_builds_on_the_crops_of_their_gates(found, rows_of):
    rows = rows_of(pareto(found), "Loss against the fp32 student, against latency: the points")
    assert [(row["build"], row["on the front"]) for row in rows] == [
        ("s-litert-w8a8-auto", "yes"),
        ("s-litert-w8-auto (refused)", "no"),
        ("s-litert-fp32-auto", "yes"),
    ]


def test_a_pinned_build_counts_for_its_degradation_only(found, rows_of):
    first = found.builds[0]
    card = first.value.model_copy(
        update={
            "recipe": first.value.recipe.model_copy(
                update={"routing": "pinned", "degradation": "rain"}
            )
        }
    )
    found.builds.append(type(first)("pinned.json", card))
    title = "Loss against the fp32 student, against latency: the points"
    names = [row["build"] for row in rows_of(pareto(found), title)]
    assert "s-litert-fp32-pinned-rain" not in names  # it was measured on noise alone


def test_nothing_to_weigh_is_said(words_of):
    words = words_of(pareto(Results()))
    assert "On a whole suite: not measured" in words
    assert "On the crops of the gates: not measured" in words


def test_of_several_suites_the_synthetic_one_is_shown(found, rows_of):
    for item in list(found.evaluations):
        suite = item.value.suite.model_copy(update={"name": "synthetic"})
        copied = item.value.model_copy(update={"suite": suite})
        found.evaluations.append(type(item)(f"synthetic-{item.file}", copied))
    rows = rows_of(pareto(found), "Quality on synthetic against latency: the points")
    assert len(rows) == 2
