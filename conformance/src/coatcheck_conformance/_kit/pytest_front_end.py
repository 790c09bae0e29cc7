"""The kit in pytest: a subclass of :class:`StoreConformance` runs it on a store."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, NoReturn

import pytest

from .case import Case
from .deviations import deviations_of
from .handle import APIName
from .harness import Harness
from .pytest_plugin import PROPERTY
from .run import Run, every_job
from .verdicts import Result, Verdict


class StoreConformance:
    """Check every clause of the Store contract on both APIs.

    ::

        class TestMyStore(StoreConformance):
            harness = Harness("mystore://127.0.0.1:7000/{namespace}")
    """

    #: Opens the store under test.
    harness: ClassVar[Harness]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        replaced = sorted(name for name in vars(cls) if hasattr(StoreConformance, name))
        if any(name != "__module__" and not name.startswith("__") for name in replaced):
            names = ", ".join(name for name in replaced if not name.startswith("__"))
            raise TypeError(
                f"{cls.__name__} replaces {names} of the conformance kit: list what the store "
                "does not fulfil in a file of deviations instead"
            )

    def test_clause(
        self,
        coatcheck_run: Run,
        coatcheck_job: tuple[Case, APIName],
        request: pytest.FixtureRequest,
    ) -> None:
        """Check that the store fulfils the clause on this API."""
        case, api = coatcheck_job
        result = coatcheck_run.result(case, api)
        request.node.user_properties.append((PROPERTY, result.verdict.value))
        strict = request.config.getoption("--require-backend")
        _tell(result, case, is_strict=bool(strict))


def run_for(request: pytest.FixtureRequest) -> Run:
    """Return a new run for the class that asks for it."""
    harness = getattr(request.cls, "harness", None)
    if not isinstance(harness, Harness):
        _fail(f"{request.cls.__name__} needs `harness = MyHarness()`")
    return Run(
        harness,
        deviations=deviations_of(harness),
        seed=request.config.getoption("--coatcheck-seed"),
    )


@functools.cache
def jobs() -> list[Any]:
    """Return a parameter for each case on each API."""
    return [
        pytest.param((case, api), id=f"{case.id}-{api}", marks=_marks(case))
        for case, api in every_job()
    ]


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.clause(case.clause)]
    return [*marks, pytest.mark.realtime] if case.realtime else marks


def _tell(result: Result, case: Case, *, is_strict: bool) -> None:
    """Turn a verdict into an outcome of pytest: a skip is no pass, and hides no failure."""
    verdict, text = result.verdict, f"{result.verdict.value}: {result.text}"
    if verdict is Verdict.PASSED:
        return
    if verdict is Verdict.NOT_SUPPORTED or (verdict is Verdict.SKIPPED and not is_strict):
        pytest.skip(text)
    if case.of.level == "recommended" and verdict is not Verdict.HARNESS_ERROR:
        pytest.xfail(f"recommended, {text}")
    if verdict is Verdict.DEVIATION:
        pytest.xfail(text)
    _fail(result.details or f"{case.id} on the {result.api} API: {text}")


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)
