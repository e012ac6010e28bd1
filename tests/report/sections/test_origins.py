from cpl_edge.report.results import Results
from cpl_edge.report.sections.origins import machine_key, origins


def test_machines_versions_and_files(found, rows_of):
    section = origins(found)
    (machine,) = rows_of(section, "Machines")
    assert machine["processor"] == "synthetic processor"
    assert "features: avx2" in machine["more"]
    files = rows_of(section, "Files read")
    assert {"file": "photo.json", "measured on": "not told"} in files
    assert {"file": "prompts.json", "measured on": "2026-01-02"} in files


def test_several_versions_of_a_package_stand_beside_each_other(found, rows_of):
    first = found.builds[0]
    newer = first.value.model_copy(update={"versions": {"numpy": "9.9"}})
    found.builds.append(type(first)("newer.json", newer))
    versions = [r for r in rows_of(origins(found), "Versions") if r["package"] == "numpy"]
    assert [row["version"] for row in versions] == ["2.4.6", "9.9"]


def test_a_python_of_another_version_is_no_other_machine():
    machine = {"processor": "p", "architecture": "a", "cores": 2, "system": "s", "python": "3.11"}
    assert machine_key(machine) == machine_key(machine | {"python": "3.12", "load": 3})
    assert machine_key(machine) != machine_key(machine | {"cores": 4})


def test_problems_are_listed(words_of):
    assert "x.json is no JSON" in words_of(origins(Results(problems=["x.json is no JSON"])))
