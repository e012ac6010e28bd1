from cpl_edge.report.formats import BuildCard, Evaluation, Photo, build_name


def test_builds_are_called_as_their_folders():
    assert build_name("s", "litert", "w8a8", "auto") == "s-litert-w8a8-auto"
    assert build_name("s", "litert", "w8a8", "pinned", "noise") == "s-litert-w8a8-pinned-noise"


def test_a_card_finds_its_gates(found):
    card = next(b.value for b in found.builds if b.value.refused)
    assert isinstance(card, BuildCard)
    assert card.gate("parity").passed is False
    assert card.gate("nothing") is None


def test_selections_are_counted_from_rows_where_no_summary_tells(found):
    e = next(e.value for e in found.evaluations if e.file == "s-bundled.json")
    old = Evaluation.model_validate(
        e.model_dump() | {"summary": [s.model_dump() | {"selected": {}} for s in e.summary]}
    )
    assert [old.selected(s) for s in old.summary] == [{"noise": 2}, {"rain": 2}, {"noise": 2}]
    told = Evaluation.model_validate(old.model_dump() | {"degradation": "oracle"})
    assert told.selected(told.summary[0]) == {}


def test_megapixels(found):
    assert isinstance(found.single_photos[0].value, Photo)
    assert found.single_photos[0].value.megapixels == 12
