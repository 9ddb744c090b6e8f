"""The page of measurements by processor says what the measurements say."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import processors_page

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def test_the_page_of_processors_is_made_of_the_results_of_each() -> None:
    page = (RESULTS / "processors.md").read_text(encoding="utf-8")
    assert page == processors_page(), "run `python -m benchmarks.report --processors`"
    assert "| work | ratio asked | AMD EPYC, 2 CPUs | Intel(R) Xeon(R) Processor, 2 CPUs |" in page
