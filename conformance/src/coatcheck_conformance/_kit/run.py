"""A run of the kit: one harness, all cases, both APIs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from coatcheck import Capabilities
from coatcheck.errors import CoatcheckError, StoreTimeout, StoreUnavailable
from coatcheck.storekit import AsyncBridge, SyncBridge

from .case import Case, all_cases, cases_of
from .context import Context
from .deviations import Deviation, find
from .failure import CheckFailed, HarnessError, RunEnded, Skipped, explain
from .handle import APIName
from .harness import FEATURES, Harness, method_of
from .self_check import check_harness
from .verdicts import Result, Verdict

#: Seconds for the running case to clean up when somebody ends the run.
_GRACE: Final = 10
#: Verdicts on a clause after which a case that depends on it cannot be judged.
_UNFULFILLED: Final = (Verdict.FAILED, Verdict.DEVIATION, Verdict.DEPENDENCY_FAILED)


class Run:
    """Run cases, each at most once, and remember their results.

    :param harness: opens the store under test.
    :param deviations: clauses that the store is declared not to meet.
    :param seed: the seed of everything that is chosen at random.
    """

    def __init__(
        self, harness: Harness, *, deviations: Iterable[Deviation] = (), seed: int = 0
    ) -> None:
        self.harness = harness
        self.deviations: list[Deviation] = list(deviations)
        self.seed = seed
        self.capabilities: Capabilities | None = None
        self.store_name: str = type(harness).__name__
        self.store_module: str = ""
        self._token = uuid.uuid4().hex[:10]
        self._contexts: list[Context] = []
        self._number = 0
        self._working: threading.Event | None = None
        self._is_over = False
        self._results: dict[tuple[str, str], Result] = {}
        self._self_check: tuple[Verdict, str] | None = None

    def all(self) -> Iterator[Result]:
        """Run everything, and yield each result when it is known."""
        for case, api in every_job():
            yield self.result(case, api)

    def results(self) -> list[Result]:
        """Return the results so far."""
        return list(self._results.values())

    def result(self, case: Case, api: APIName) -> Result:
        """Return the result of a case; run the case now if it has not run."""
        found = self._results.get((case.id, api))
        if found is None:
            found = self._results[case.id, api] = self._judged(case, api)
        return found

    def check_harness(self) -> tuple[Verdict, str]:
        """Check the harness once.

        :returns: the verdict and the reason. The verdict is PASSED, HARNESS_ERROR, or SKIPPED if
            the backend is not there.
        """
        if self._self_check is None:
            self._self_check = self._checked()
        return self._self_check

    def _checked(self) -> tuple[Verdict, str]:
        try:
            self._limited(60, lambda: check_harness(self.harness, self._checking_context))
        except (StoreUnavailable, StoreTimeout, Skipped) as error:
            cause = f" ({error.__cause__!r})" if error.__cause__ else ""
            return Verdict.SKIPPED, f"the backend is not there: {error}{cause}"
        except CheckFailed as failed:
            return Verdict.HARNESS_ERROR, f"the store cannot be used at all: {failed.seen}"
        except HarnessError as error:
            return Verdict.HARNESS_ERROR, str(error)
        except Exception as error:
            if _origin(error) == "store" and self.capabilities is not None:
                return Verdict.PASSED, ""  # the store is wrong, and the cases will report it
            text = f"the harness raised {type(error).__name__}: {error}"
            return Verdict.HARNESS_ERROR, text
        return Verdict.PASSED, ""

    def finish(self) -> None:
        """End the running case, and release the resources of the harness."""
        self._is_over = True
        for context in self._contexts:
            context.steps.end()
        if self._working is not None:
            self._working.wait(_GRACE)
        self.harness.finish()

    def _context(self, api: APIName) -> Context:
        if self._is_over:
            raise RunEnded
        self._number += 1
        context = Context(self.harness, api, f"kit{self._token}n{self._number}", seed=self.seed)
        self._contexts.append(context)
        return context

    def _checking_context(self, api: APIName) -> Context:
        context = self._context(api)
        self.capabilities = context.capabilities
        native = context.store.native
        kind = type(native.store if isinstance(native, AsyncBridge | SyncBridge) else native)
        self.store_name, self.store_module = kind.__name__, kind.__module__
        return context

    def _judged(self, case: Case, api: APIName) -> Result:
        verdict, why = self.check_harness()
        if verdict is not Verdict.PASSED:
            return _result(case, api, verdict, why)
        reason = self._inapplicable(case)
        if reason:
            return _result(case, api, Verdict.NOT_SUPPORTED, reason)
        missing = self._missing(case)
        if missing:
            return _result(case, api, Verdict.SKIPPED, missing)
        clause = self._failed_prerequisite(case, api)
        if clause:
            return _result(case, api, Verdict.DEPENDENCY_FAILED, f"{clause} was not fulfilled")
        return self._expected(case, api, self._performed(case, api))

    def _inapplicable(self, case: Case) -> str:
        assert self.capabilities is not None, "the harness has been checked"
        if not case.of.concerns(self.capabilities):
            return f"declared: the clause is for stores with {case.of.capability}"
        for name in case.requires:
            if not getattr(self.capabilities, name):
                return f"declared: no `{name}`"
        for feature in case.needs:
            if feature in self.harness.unsupported:
                return f"declared: {self.harness.unsupported[feature]}"
        return ""

    def _missing(self, case: Case) -> str:
        for feature in case.needs:
            if not self.harness.has(feature):
                return (
                    f"`{type(self.harness).__name__}` does not say whether "
                    f"{FEATURES[feature].partition(' (')[0]}: give it "
                    f"`{method_of(feature)}`, or declare `{feature}` in `unsupported` with the "
                    "reason"
                )
        return ""

    def _failed_prerequisite(self, case: Case, api: APIName) -> str:
        for clause in case.depends_on:
            for other in cases_of(clause):
                counts = other.prerequisite and api in other.apis
                if counts and self.result(other, api).verdict in _UNFULFILLED:
                    return clause
        return ""

    def _expected(self, case: Case, api: APIName, result: Result) -> Result:
        deviation = find(self.deviations, case.clause, api)
        if deviation is None:
            return result
        if result.verdict is Verdict.FAILED:
            text = f"{deviation.reason}: {deviation.why} ({deviation.url})"
            return _result(case, api, Verdict.DEVIATION, text, result.details, result.seconds)
        if result.verdict is Verdict.PASSED and self._is_whole_clause_passed(case, api):
            text = f"{case.clause} is listed as a deviation, and passed: remove it from the list"
            return _result(case, api, Verdict.FAILED, text, text, result.seconds)
        return result

    def _is_whole_clause_passed(self, case: Case, api: APIName) -> bool:
        """Tell whether no other case of the clause fails, which the deviation may be about."""
        for other in cases_of(case.clause):
            if other.id != case.id and api in other.apis:
                key = (other.id, api)
                verdict = (
                    self._results[key].verdict
                    if key in self._results
                    else self._performed(other, api).verdict
                )
                if verdict in (Verdict.FAILED, Verdict.DEVIATION):
                    return False
        return True

    def _performed(self, case: Case, api: APIName) -> Result:
        started = time.perf_counter()
        contexts: list[Context] = []

        def perform() -> None:
            context = self._context(api)
            contexts.append(context)
            try:
                case.check(context)
            except BaseException:
                with suppress(Exception):  # the result of the case is more important
                    context.close()
                raise
            context.close()

        try:
            self._limited(case.limit, perform)
        except CheckFailed as failed:
            verdict, text, details = self._failure(case, api, contexts, failed)
        except Skipped as error:
            verdict, text, details = Verdict.SKIPPED, str(error), ""
        except HarnessError as error:
            verdict, text, details = Verdict.HARNESS_ERROR, str(error), str(error)
        except CoatcheckError as error:
            verdict, text, details = self._failure(case, api, contexts, _raised(error))
        except Exception as error:
            verdict, text, details = self._unexpected(case, api, contexts, error)
        else:
            verdict, text, details = Verdict.PASSED, "", ""
        return _result(case, api, verdict, text, details, time.perf_counter() - started)

    def _failure(
        self, case: Case, api: APIName, contexts: Sequence[Context], failed: CheckFailed
    ) -> tuple[Verdict, str, str]:
        steps = contexts[0].steps.lines if contexts else ()
        details = explain(
            case.of,
            case=case.id,
            api=api,
            store=self.store_name,
            steps=steps,
            failed=failed,
            hint=case.hint,
        )
        return Verdict.FAILED, f"expected {failed.expected}; seen {failed.seen}", details

    def _unexpected(
        self, case: Case, api: APIName, contexts: Sequence[Context], error: Exception
    ) -> tuple[Verdict, str, str]:
        """Return the verdict on an unexpected exception: of the store, the harness or the kit."""
        origin = _origin(error)
        if origin == "store":
            return self._failure(case, api, contexts, _raised(error))
        whose = "the harness" if origin == "harness" else f"the case {case.id}"
        text = f"{whose} raised {type(error).__name__}: {error}"
        return Verdict.HARNESS_ERROR, text, text

    def _limited(self, seconds: float, work: Callable[[], None]) -> None:
        """Do the work in a thread of its own, and abandon it if it hangs."""
        raised: list[BaseException] = []
        # Not Thread.join: after a signal has interrupted it, it takes the thread for ended.
        done = self._working = threading.Event()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # the waiting thread raises it again
                raised.append(error)
            finally:
                done.set()

        threading.Thread(target=run, name="coatcheck-kit", daemon=True).start()
        if not done.wait(seconds):
            raise CheckFailed("an end", f"no end after {seconds:g} seconds: a call hangs")
        self._working = None
        self._contexts.clear()
        if raised:
            raise raised[0]


def every_job() -> Iterator[tuple[Case, APIName]]:
    """Yield each case with each of its APIs."""
    for case in all_cases().values():
        for api in case.apis:
            yield case, api


def _raised(error: Exception) -> CheckFailed:
    return CheckFailed("no exception", f"{type(error).__name__}({str(error)!r})")


def _origin(error: BaseException) -> str:
    """Return whose code raised: the harness, an operation or a case, whichever was called last."""
    origin = "kit"
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        name = frame.f_globals.get("__name__", "")
        if name == f"{__package__}.handle":
            origin = "store"
        elif isinstance(frame.f_locals.get("self"), Harness):
            origin = "harness"
        trace = trace.tb_next
    return origin


def _result(
    case: Case, api: APIName, verdict: Verdict, text: str, details: str = "",
    seconds: float = 0.0,
) -> Result:  # fmt: skip
    return Result(case.id, case.clause, api, verdict, text, details, seconds)
