"""The figures in the README are those of the committed results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
ROW = re.compile(
    r"\| (\w+) \| ([\w ]+) \| ([\d.]+) -> ([\d.]+) \| ([+-][\d.]+) \| ([+-][\d.]+) \| (\d+) % \|"
)


def rows():
    return [match.groups() for match in ROW.finditer((ROOT / "README.md").read_text("utf-8"))]


def test_the_table_is_there():
    assert {row[0] for row in rows()} == {"cbsd68", "rain100l", "synthetic", "bundled"}
    assert len(rows()) == 14


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_row_is_what_was_measured(row):
    suite, label, *figures = row
    result = json.loads((RESULTS / f"s-litert-fp32-{suite}.json").read_text("utf-8"))
    (measured,) = [s for s in result["summary"] if s["label"] == label]
    assert figures == [
        f"{measured['psnr_before']:.2f}",
        f"{measured['psnr_after']:.2f}",
        f"{measured['gain']:+.2f}",
        f"{measured['worst_gain']:+.2f}",
        f"{measured['routed'] * 100:.0f}",
    ]


def test_results_are_of_the_shipped_student():
    card = json.loads((ROOT / "weights/s.json").read_text("utf-8"))
    for path in RESULTS.glob("s-litert-fp32-*.json"):
        assert json.loads(path.read_text("utf-8"))["model"]["digest"] == card["digest"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"{card['parameters']:,} parameters" in readme
    assert f"{card['macs_256x256'] / 1e9:.2f} GMAC" in readme


PLAIN, EACH = ("nano", "s", "m"), ("nano-lean", "nano-each", "s-lean", "s-each", "m-lean")
"""Students whose degradations share all convolutions, and those that have their own."""

STUDENT = re.compile(
    r"\| `([\w-]+)` \| ([\d,]+) \| ([\d.]+) \| ([\d./ ]+) \| ([\d.]+) "
    r"\| ([-+\d./ ]+) \| ([\d.]+) \| ([\d.]+) \|"
)


def students():
    return [match.groups() for match in STUDENT.finditer((ROOT / "README.md").read_text("utf-8"))]


def measured(name, suite):
    result = json.loads((RESULTS / f"{name}-litert-fp32-{suite}.json").read_text("utf-8"))
    assert result["model"]["digest"] == card(name)["digest"]
    return {row["label"]: row for row in result["summary"]}


def card(name):
    return json.loads((ROOT / f"weights/{name}.json").read_text("utf-8"))


def test_every_shipped_student_has_a_line():
    shipped = {path.stem for path in (ROOT / "weights").glob("*.safetensors")}
    assert {row[0] for row in students()} == shipped == {*PLAIN, *EACH}


@pytest.mark.parametrize("row", students(), ids=lambda row: row[0])
def test_a_students_line_is_what_was_measured(row):
    name, *figures = row
    noise, made = measured(name, "cbsd68"), measured(name, "synthetic")
    gains = [f"{made[f'synthetic {kind}']['gain']:+.2f}" for kind in ("blur", "haze", "lowlight")]
    assert figures == [
        f"{card(name)['parameters']:,}",
        f"{card(name)['macs_256x256'] / 1e9:.2f}",
        " / ".join(f"{noise[f'noise {sigma}']['psnr_after']:.2f}" for sigma in (15, 25, 50)),
        f"{measured(name, 'rain100l')['Rain100L']['psnr_after']:.2f}",
        " / ".join(gains),
        f"{measured(name, 'unseen')['noise 25 as jpeg q88']['psnr_after']:.2f}",
        f"{measured(name, 'clean')['photo']['psnr_after']:.1f}",
    ]


PASSES = re.compile(r"\| (\w+ \+ \w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|")


def test_what_several_passes_give_is_what_was_measured():
    shown = PASSES.findall((ROOT / "README.md").read_text("utf-8"))
    one, three = measured("m", "composite"), measured("m", "composite-3-passes")
    assert [row[0] for row in shown] == list(one)
    for label, *figures in shown:
        assert figures == [
            f"{one[label]['psnr_before']:.2f}",
            f"{one[label]['psnr_after']:.2f}",
            f"{three[label]['psnr_after']:.2f}",
        ]


TIMED = {
    "LiteRT fp32": "s-litert-fp32-auto",
    "ExecuTorch fp32": "s-executorch-fp32-auto",
    "ONNX Runtime fp32": "s-onnx-fp32-auto",
    "LiteRT fp16": "s-litert-fp16-auto",
    "LiteRT w8": "s-litert-w8-auto",
    "LiteRT int8 (dynamic)": "s-litert-dynamic-auto",
    "ExecuTorch int8 (dynamic)": "s-executorch-dynamic-auto",
    "LiteRT fp32, `m`": "m-litert-fp32-auto",
    "LiteRT int8 (dynamic), `m`": "m-litert-dynamic-auto",
    "LiteRT fp32, `nano`": "nano-litert-fp32-auto",
    "LiteRT int8 (dynamic), `nano`": "nano-litert-dynamic-auto",
}
BUILD = re.compile(r"\| ([^|]+) \| [\d.]+ MB \| [^|]+ \| ([\d.]+) \| ([\d.]+) \| (\d+) \|")


def latency_run(readme):
    """The run of the tables of builds; that of the table of ``EACH`` stands in its own section."""
    readme = readme.replace(each_section(readme), "")
    (file,) = set(re.findall(r"benchmarks/results/(latency-[\w-]+\.json)", readme))
    return json.loads((RESULTS / file).read_text("utf-8"))


def each_section(readme):
    start = readme.index("### Convolutions of its own")
    return readme[start : readme.index("\n#", start + 1)]


TIMED_EACH = re.compile(
    r"\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) MB \| ([\d.]+) MB "
    r"\| ([\d. /]+) \| ([\d. /]+) \|\n"
)


def test_students_with_convolutions_of_their_own_are_as_fast_and_good_as_is_said():
    section = each_section((ROOT / "README.md").read_text("utf-8"))
    (file,) = set(re.findall(r"benchmarks/results/(latency-[\w-]+\.json)", section))
    run = json.loads((RESULTS / file).read_text("utf-8"))
    p50 = {
        (row["student"], row["precision"]): row["p50_ms"]
        for row in run["rows"]
        if row["threads"] == 1 and row["target"] == "litert"
    }
    times = {(row["a"], row["b"], row["threads"]): row["ratio"] for row in run["ratios"]}
    told = re.findall(r"with (?:one|two) threads?(.*?)[;.]\n?", section)
    assert len(told) == 2
    for threads, words in enumerate(told, 1):
        said = [int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b", words)]
        found = [times["promptir", f"{name}-dynamic.tflite", threads] for name in EACH]
        assert said == [round(ratio) for ratio in found]
    shown = TIMED_EACH.findall(section)
    assert [row[0] for row in shown] == ["nano", *EACH[:2], "s", *EACH[2:], "m"]
    for name, *figures in shown:
        routing = "split" if name in EACH else "auto"
        after = {}
        for suite in ("cbsd68", "rain100l", "synthetic"):
            file = f"{name}-litert-dynamic-{routing}-{suite}.json"
            result = json.loads((RESULTS / file).read_text("utf-8"))
            assert result["model"]["digest"] == card(name)["digest"]
            after |= {row["label"]: f"{row['psnr_after']:.2f}" for row in result["summary"]}
        sizes = [(ROOT / f"weights/{name}{e}.tflite").stat().st_size for e in ("", "-dynamic")]
        assert figures == [
            f"{p50[name, 'fp32']:.1f}",
            f"{p50[name, 'dynamic']:.1f}",
            *(f"{size / 1e6:.2f}" for size in sizes),
            " / ".join(after[f"noise {sigma}"] for sigma in (15, 25, 50)),
            " / ".join(
                after[label]
                for label in (
                    "Rain100L",
                    "synthetic blur",
                    "synthetic haze",
                    "synthetic lowlight",
                )
            ),
        ], name


OWNED = {
    "nothing: all is shared": "shared",
    "the first and the last convolution": "ends",
    "what comes after the middle": "decoder",
    "all but the middle": "all-but-middle",
    "everything": "all",
}


def table(text, first):
    """Rows of the Markdown table whose first column is called so, by its first cell."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def test_what_convolutions_of_its_own_are_worth_is_what_the_search_says():
    found = (RESULTS / "search-own.md").read_text("utf-8")
    routed, cost = table(found, "candidate"), table(found[found.index("## Cost") :], "candidate")
    section = each_section((ROOT / "README.md").read_text("utf-8"))
    shown = table(section, "each degradation owns")
    assert list(shown) == list(OWNED)
    for label, row in shown.items():
        expected = routed[OWNED[label]] | {"mean": routed[OWNED[label]]["mean seen"]}
        expected["parameters"] = cost[OWNED[label]]["parameters"]
        assert row == {name: expected[name] for name in row}, label
        assert {"parameters", "mean", "noise 25", "blur", "rain"} <= row.keys()


def test_times_are_those_of_the_run_that_is_named():
    readme = (ROOT / "README.md").read_text("utf-8")
    run = latency_run(readme)
    p50 = {(row["name"], row["threads"]): row["p50_ms"] for row in run["rows"]}
    times = {
        row["b"]: row["ratio"]
        for row in run["ratios"]
        if (row["a"], row["threads"]) == ("promptir", 1)
    }
    shown = BUILD.findall(readme)
    assert {label for label, *_ in shown} == set(TIMED)
    for label, *figures in shown:
        name = TIMED[label]
        expected = [f"{p50[name, 1]:.1f}", f"{p50[name, 2]:.1f}", f"{times[name]:.0f}"]
        assert figures == expected, label


INT8 = {
    "LiteRT dynamic": "s-litert-dynamic",
    "ExecuTorch dynamic": "s-executorch-dynamic",
    "LiteRT dynamic, `m`": "m-litert-dynamic",
    "ExecuTorch dynamic, `m`": "m-executorch-dynamic",
    "LiteRT dynamic, `nano`": "nano-litert-dynamic",
    "ExecuTorch dynamic, `nano`": "nano-executorch-dynamic",
    "ONNX Runtime mixed, `nano`": "nano-onnx-mixed",
    "LiteRT w8a8, one prompt of noise folded in (`pinned`)": "s-litert-w8a8-pinned-noise",
}
INT8_ROW = re.compile(
    r"\| ([^|]+) \| ([\d.]+) MB \| ([\d.]+) dB \| ([\d.]+) dB "
    r"\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|"
)


def test_int8_builds_are_what_was_measured():
    readme = (ROOT / "README.md").read_text("utf-8")
    names = ("student", "target", "precision", "routing", "pinned", "threads")
    p50 = {tuple(row[n] for n in names): row["p50_ms"] for row in latency_run(readme)["rows"]}
    shown = INT8_ROW.findall(readme)
    assert {label for label, *_ in shown} == set(INT8)
    for label, *figures in shown:
        (build,) = json.loads((RESULTS / f"{INT8[label]}-export.json").read_text("utf-8"))
        gates = {gate["name"]: gate["figure"] for gate in build["gates"]}
        assert "refused" not in build
        info = build["info"]
        assert build["digest"] == card(info["student"])["digest"]
        one, two = (p50[(*(info[n] for n in names[:-1]), threads)] for threads in (1, 2))
        fp32 = p50[info["student"], info["target"], "fp32", "auto", None, 1]
        assert figures == [
            f"{build['bytes'] / 1e6:.2f}",
            f"{gates['parity']:.1f}",
            f"{gates['drop_mean']:.2f}",
            f"{one:.1f}",
            f"{two:.1f}",
            f"{fp32 / one:.1f}",
        ], label


SETS = {
    "`s` fp32": "s-litert-fp32",
    "`s` LiteRT dynamic": "s-litert-dynamic-auto",
    "`m` fp32": "m-litert-fp32",
    "`m` LiteRT dynamic": "m-litert-dynamic-auto",
    "`nano` fp32": "nano-litert-fp32",
    "`nano` LiteRT dynamic": "nano-litert-dynamic-auto",
    "`s` LiteRT w8a8, pinned to noise": "s-litert-w8a8-pinned-noise",
    "`s` LiteRT fp32, pinned to noise": "s-litert-fp32-pinned-noise",
}
SET_ROW = re.compile(r"\| ([^|]+) \| ([\d.]+ / [\d.]+ / [\d.]+) \| ([\d.]*) ?\| ([\d./ ]*?) ?\|\n")


def test_other_builds_on_the_sets_are_what_was_measured():
    def after(name, suite, *labels):
        result = json.loads((RESULTS / f"{name}-{suite}.json").read_text("utf-8"))
        assert result["model"]["digest"] == card(name.split("-")[0])["digest"]
        by_label = {row["label"]: f"{row['psnr_after']:.2f}" for row in result["summary"]}
        return " / ".join(by_label[label] for label in labels or by_label)

    readme = (ROOT / "README.md").read_text("utf-8")
    shown = SET_ROW.findall(readme[readme.index("### int8") :])
    assert [label for label, *_ in shown] == list(SETS)
    for label, noise, rain, others in shown:
        name = SETS[label]
        assert noise == after(name, "cbsd68")
        if rain or label.endswith(("` fp32", "dynamic", "mixed")):
            kinds = [f"synthetic {kind}" for kind in ("blur", "haze", "lowlight")]
            assert (rain, others) == (after(name, "rain100l"), after(name, "synthetic", *kinds))
