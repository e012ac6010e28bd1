"""The example of benchmarks/README.md is a valid suite with every key in it."""

import re
from pathlib import Path

from cpl_edge.evaluate.suites import Clean, Gaussian, Pairs, Published, Suite, Synthetic, load_suite

README = Path(__file__).parents[2] / "benchmarks/README.md"


def test_the_documented_keys_are_those_there_are(tmp_path):
    examples = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (example,) = [text for text in examples if "[[degradations]]" in text]
    path = tmp_path / "mine.toml"
    path.write_text(example)
    suite = load_suite(str(path))
    assert {type(d) for d in suite.degradations} == {Gaussian, Synthetic, Clean, Pairs}
    known = {
        key
        for table in (Suite, Published, Gaussian, Synthetic, Clean, Pairs)
        for key in table.model_fields
    }
    assert set(re.findall(r"^(\w+) = ", example, re.MULTILINE)) == known - {
        "degradations",
        "published",
    }
