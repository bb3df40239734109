"""The page of `tupe report` in a real browser, without a network."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.some_runs import a_run
from tupe_plugin import commands

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVIL = "<img src=x onerror=document.title='broken'>"
COLOURS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
PICTURES = "[...document.images].map(image => image.complete && image.naturalWidth > 0)"
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, legacy_checkpoint: Path) -> Path:
    """Of two tasks, two rates, heat maps of both kinds, and names that nobody should have."""
    folder = tmp_path_factory.mktemp("report")
    drift = {"bias_drift_0_query": 0.5, "bias_drift_0_intermediate": 0.25}
    names = ("plain", "a-strategy-with-a-long-name-that-has-no-space-in-it" * 2, EVIL)
    settings = itertools.product(("CoLA", "MRPC"), names, (2e-5, 3e-5), (1, 2))
    for number, (task, strategy, lr, seed) in enumerate(settings):
        run = a_run(0.25, 0.5 + seed / 10, task=task, strategy=strategy, lr=lr, seed=seed)
        run.validations[-1].scores.update(drift)
        (folder / str(number)).mkdir()
        run.write(folder / str(number))
    shutil.copy(legacy_checkpoint, folder / "0" / "checkpoint_best.pt")
    assert commands.main(["report", str(folder), "--html", str(folder / "report.html")]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH (apt install chromium)")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.mark.parametrize("scheme", COLOURS)
def test_page_is_readable_on_a_phone_without_a_network(
    browser: Any, page_file: Path, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(page_file.as_uri())
    assert said == []
    assert page.title() == "What the runs have found"
    assert page.evaluate(WIDTH) == 400
    pictures = page.evaluate(PICTURES)
    assert len(pictures) == 3 * 2 + 1 + 6  # of each task; positions; drifts
    assert all(pictures)
    assert page.evaluate(BACKGROUND) == COLOURS[scheme]
    context.close()
