from cpl_edge.export.card import file_size


def test_the_size_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b").write_bytes(b"123")
    assert file_size(tmp_path / "a") == 5
    assert file_size(tmp_path) == 8
