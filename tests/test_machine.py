import json

from cpl_edge.machine import machine, versions


def test_a_machine_is_described_without_telling_whose_it_is():
    found = machine()
    assert found["processor"] and found["cores"] >= 1
    assert set(found) == {"processor", "architecture", "cores", "system", "python"}
    assert "/" not in json.dumps(found["python"])


def test_versions_name_the_product_and_what_moves_figures():
    found = versions()
    assert {"cpl-edge", "numpy", "ai-edge-litert"} <= set(found)
    assert all(found.values())
