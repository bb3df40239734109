"""Steps: what is whole is kept, what depends on a change is made again, nothing is half made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tupe_plugin.data.folder_lock import FolderInUseError, folder_lock
from tupe_plugin.data.step_graph import Job, Step, StepError


class Three:
    """Three steps in a row, the second of which has an option; `made` lists what was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[str] = []
        (folder / "text").write_text("a", "utf-8")

    def run(self, **options: object) -> list[str]:
        self.made.clear()
        steps = [
            Step("first", ("text",), (), self._make("first")),
            Step("second", ("first",), ("size",), self._make("second")),
            Step("third", ("second", "left out"), (), self._make("third")),
            Step("left out", (), (), self._make("left out"), lambda job: False),
        ]
        Job(
            options={"size": 1, "workers": 2} | options,
            steps=steps,
            files={"text": [self.folder / "text"]},
            work=self.folder / "work",
            result=self.folder / "result",
        ).run()
        return list(self.made)

    def _make(self, name: str):
        def make(job: Job, folder: Path) -> None:
            (folder / "content").write_text(name, "utf-8")
            if job.options["size"] == "too large" and name == "second":
                raise ValueError("too large")
            self.made.append(name)

        return make


@pytest.fixture
def three(tmp_path: Path) -> Three:
    return Three(tmp_path)


def test_only_what_depends_on_a_change_is_made_again(three: Three) -> None:
    assert three.run() == ["first", "second", "third"]
    assert three.run(workers=7) == []
    assert three.run(size=2) == ["second", "third"]
    (three.folder / "text").write_text("another", "utf-8")
    assert three.run(size=2) == ["first", "second", "third"]


def test_a_step_that_fails_leaves_no_folder_and_what_was_whole(three: Three) -> None:
    with pytest.raises(StepError, match="the step 'second' failed: too large"):
        three.run(size="too large")
    work = three.folder / "work"
    assert sorted(path.name for path in work.iterdir()) == ["first", "second.part"]
    assert three.run() == ["second", "third"]
    assert not (work / "second.part").exists()


def test_a_folder_of_others_is_left_alone(three: Three) -> None:
    (three.folder / "work" / "first").mkdir(parents=True)
    with pytest.raises(StepError, match="exists and was not made here"):
        three.run()


def test_a_second_run_is_kept_out_while_the_first_is_at_work(tmp_path: Path) -> None:
    with folder_lock(tmp_path / ".lock"):
        with folder_lock(tmp_path / ".lock-1-of-2"):  # shards run side by side
            pass
        second = folder_lock(tmp_path / ".lock")
        with pytest.raises(FolderInUseError, match="another run is at work in"), second:
            pass
    with folder_lock(tmp_path / ".lock"):
        pass
