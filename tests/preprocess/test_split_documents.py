"""Training and validation text: whole documents, reproducible, independent of their order."""

from __future__ import annotations

import pytest

from tupe_plugin.data.text.split_documents import blocks_of_documents, split_documents


def blocks(text: str, block_lines: int) -> list[tuple[str, bool]]:
    return [
        (" ".join(block.lines), block.begins_document)
        for block in blocks_of_documents(text.split("\n"), block_lines=block_lines)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n\n", []),
        ("a\nb\n\nc", [("a b", True), ("c", True)]),
        ("\n\na\n\n\n\nb\n", [("a", True), ("b", True)]),
        ("a\nb\nc\n\nd", [("a b", True), ("c", False), ("d", True)]),
        ("a\nb\n\nd", [("a b", True), ("d", True)]),
    ],
)
def test_blocks(text, expected):
    assert blocks(text, block_lines=2) == expected


def write_documents(path, documents: list[list[str]]) -> None:
    path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", "utf-8")


def split(tmp_path, documents, **options) -> tuple[list[list[str]], list[list[str]]]:
    write_documents(tmp_path / "text", documents)
    settings = {"ratio": 0.1, "block_lines": 10, "seed": 1, **options}
    split_documents(tmp_path / "text", tmp_path / "train", tmp_path / "valid", **settings)
    return tuple(
        [
            document.split("\n")
            for document in (tmp_path / side).read_text("utf-8")[:-1].split("\n\n")
        ]
        for side in ("train", "valid")
    )


DOCUMENTS = [[f"document {number}", f"line two of {number}"] for number in range(2000)]


def test_every_document_is_whole_and_on_one_side(tmp_path):
    train, valid = split(tmp_path, DOCUMENTS)
    assert sorted(train + valid) == sorted(DOCUMENTS)
    assert 140 < len(valid) < 260  # 200 expected, standard deviation 13


def test_the_choice_depends_on_text_and_seed_only(tmp_path):
    _, valid = split(tmp_path, DOCUMENTS)
    _, reversed_valid = split(tmp_path, DOCUMENTS[::-1])
    assert reversed_valid == valid[::-1]
    _, half_valid = split(tmp_path, DOCUMENTS[:1000])
    assert half_valid == [document for document in valid if document in DOCUMENTS[:1000]]
    assert split(tmp_path, DOCUMENTS)[1] == valid
    assert split(tmp_path, DOCUMENTS, seed=2)[1] != valid


def test_equal_documents_are_on_one_side(tmp_path):
    train, valid = split(tmp_path, [*DOCUMENTS, *DOCUMENTS])
    assert not {tuple(document) for document in train} & {tuple(document) for document in valid}


def test_a_book_is_cut_but_goes_on_where_its_pieces_are_neighbours(tmp_path):
    book = [f"paragraph {number}" for number in range(1000)]
    train, valid = split(tmp_path, [book])
    # Only where a validation block was taken out does the training text break.
    assert [line for document in train for line in document] == [
        line for line in book if [line] not in [[v] for document in valid for v in document]
    ]
    assert 1 <= len(valid) <= 25
    assert len(train) <= len(valid) + 1


def test_a_small_text_still_gets_one_validation_block(tmp_path):
    train, valid = split(tmp_path, DOCUMENTS[:3], ratio=0.0)
    assert (len(train), len(valid)) == (2, 1)


@pytest.mark.parametrize("documents", [[], [["only one"]]])
def test_a_text_too_short_is_refused(tmp_path, documents):
    write_documents(tmp_path / "text", documents)
    with pytest.raises(ValueError, match="too short to be divided; take a smaller --valid-block"):
        split(tmp_path, documents)
