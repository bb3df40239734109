"""Joining shards and dropping copies: exact, in order, whatever the number of shards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tupe_plugin.data.text.drop_duplicates import drop_duplicates

Document = list[str]


def write_shards(folder: Path, documents: list[Document], num_shards: int) -> list[Path]:
    """As `clean_documents` writes them: every n-th document, an empty line after each."""
    paths = []
    for number in range(num_shards):
        path = folder / f"shard{number}"
        mine = documents[number::num_shards]
        path.write_text("".join("".join(f"{x}\n" for x in lines) + "\n" for lines in mine), "utf-8")
        paths.append(path)
    return paths


def naive(documents: list[Document], unit: str) -> str:
    """Everything in memory, one after the other."""
    seen: set[object] = set()
    kept = []
    for document in documents:
        lines = []
        for line in document:
            if unit != "lines" or line not in seen:
                lines.append(line)
                seen.add(line)
        if not lines or (unit == "documents" and tuple(lines) in seen):
            continue
        seen.add(tuple(lines))
        kept.append("\n".join(lines) + "\n")
    return "\n".join(kept)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "é é", "ab"]), max_size=3), max_size=13),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["documents", "lines", "none"]),
)
def test_equals_the_naive_way_with_any_groups_of_shards(tmp_path, documents, groups, unit):
    shards = []
    for number, num_shards in enumerate(groups):
        (tmp_path / f"{number}").mkdir(exist_ok=True)
        first, end = (len(documents) * place // len(groups) for place in (number, number + 1))
        shards.append(write_shards(tmp_path / f"{number}", documents[first:end], num_shards))
    drop_duplicates(shards, tmp_path / "text", unit=unit)
    assert (tmp_path / "text").read_text("utf-8") == naive(documents, unit)


def test_the_first_copy_is_kept_and_the_others_counted(tmp_path):
    documents = [["one", "two"], ["three"], ["one", "two"], [], ["one"], ["three"], ["three"]]
    shards = write_shards(tmp_path, documents, 2)
    counts = drop_duplicates([shards], tmp_path / "text", unit="documents")
    assert (tmp_path / "text").read_text("utf-8") == "one\ntwo\n\nthree\n\none\n"
    assert counts == {
        "documents": 3,
        "lines": 4,
        "documents read": 6,
        "documents dropped": 3,
    }
    counts = drop_duplicates([shards], tmp_path / "text", unit="lines")
    assert (tmp_path / "text").read_text("utf-8") == "one\ntwo\n\nthree\n"
    assert (counts["lines read"], counts["lines dropped"]) == (8, 5)


def test_line_ends_tell_documents_apart(tmp_path):
    (shard,) = write_shards(tmp_path, [["ab", "c"], ["a", "bc"], ["abc"]], 1)
    counts = drop_duplicates([[shard]], tmp_path / "text", unit="documents")
    assert counts["documents dropped"] == 0


def test_no_partition_is_left_behind(tmp_path):
    (shard,) = write_shards(tmp_path, [["a"], ["a"]], 1)
    drop_duplicates([[shard]], tmp_path / "text", unit="documents")
    assert {path.name for path in tmp_path.iterdir()} == {"shard0", "text"}


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    first, second, third = write_shards(tmp_path, [[str(n)] for n in range(7)], 3)
    with pytest.raises(ValueError, match=r"shard0 goes on where .*shard1 has ended"):
        drop_duplicates([[second, third, first]], tmp_path / "text", unit="documents")
    third.write_text("2\n\n5\n", "utf-8")
    with pytest.raises(ValueError, match="shard2 ends within a document"):
        drop_duplicates([[first, second, third]], tmp_path / "text", unit="documents")
