"""The cost of importing the package, the direction of its imports, and the names it gives."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import coatcheck
import coatcheck.old_sessions
import coatcheck.testing
from testing import public_api

SOURCE = Path(coatcheck.__file__).parent


def name_of(path: Path) -> str:
    """Return the name that the tests have for a module; a package has the name of its folder.

    Readers of old sessions have the names of libraries, and so have other modules.
    """
    if path.name == "__init__.py":
        return path.parent.name
    is_reader = path.parent.name == "old_sessions" and not path.stem.startswith("_")
    return f"old_sessions.{path.stem}" if is_reader else path.stem


#: The file of each module, by that name.
MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}

HEAVY = [
    "anyio",
    "importlib.metadata",
    "redis",
    "pymongo",
    "boto3",
    "botocore",
    "starlette",
    "fastapi",
    "pydantic",
    "msgspec",
    "django",
    "flask",
    "aiohttp",
    "litestar",
    "pyramid",
    "sanic",
    "trio",
    "asyncio",
]

#: Modules that anybody may import.
PUBLIC = public_api.MODULES["packages/core"]


@functools.cache
def loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement loads in a fresh interpreter."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs when a module is imported: no function bodies, no TYPE_CHECKING blocks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from runtime_nodes(node)


def parts_of(module: str) -> tuple[str, ...]:
    """Return where a module is in the core: its packages and its name."""
    path = MODULES[module].relative_to(SOURCE).with_suffix("")
    return path.parts[:-1] if path.name == "__init__" else path.parts


NAMES = {parts_of(module): module for module in MODULES}


def imported(module: str, nodes: Iterator[ast.AST]) -> set[str]:
    """Return the modules of the core that the import statements among the nodes name."""
    package = MODULES[module].parent.relative_to(SOURCE).parts
    found: set[tuple[str, ...]] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {tuple(rest) for first, *rest in names if first == "coatcheck"}
        elif isinstance(node, ast.ImportFrom):
            named = (node.module or "").split(".") if node.module else []
            if node.level:
                parts = (*package[: len(package) - node.level + 1], *named)
            elif named[0] == "coatcheck":
                parts = tuple(named[1:])
            else:
                continue
            inner = {(*parts, alias.name) for alias in node.names}
            found |= inner & NAMES.keys()
            if inner - NAMES.keys():
                found.add(parts)
    return {NAMES[parts] for parts in found if parts in NAMES}


def libraries(module: str) -> set[str]:
    """Return the top-level modules that a module imports from elsewhere."""
    return {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(parse(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def test_each_module_has_a_name_of_its_own() -> None:
    """A name is enough to find a module, so the tests here speak of names."""
    assert len(NAMES) == len([*SOURCE.rglob("*.py")])


IMPORTS = {module: imported(module, runtime_nodes(parse(module))) for module in MODULES}
EVERY_IMPORT = {module: imported(module, ast.walk(parse(module))) for module in MODULES}


@pytest.mark.parametrize("name", HEAVY)
def test_importing_the_package_loads_nothing_that_a_request_may_never_need(name: str) -> None:
    """`import coatcheck` loads no event loop, no metadata reader, no framework and no client."""
    assert name not in loaded_by("import coatcheck")


@pytest.mark.parametrize("name", [name for name in HEAVY if name != "asyncio"])
@pytest.mark.parametrize("driver", ["asgi", "wsgi"])
def test_importing_a_driver_loads_no_more(driver: str, name: str) -> None:
    """The middlewares are as light as the package, and bring no framework along."""
    assert name not in loaded_by(f"import coatcheck.{driver}")


@pytest.mark.parametrize("name", HEAVY)
def test_importing_the_toolbox_for_stores_loads_no_more(name: str) -> None:
    """A sync store does not load asyncio."""
    assert name not in loaded_by("import coatcheck.storekit")


def test_the_middleware_is_made_without_reading_metadata() -> None:
    """A middleware with a store object, or with none, never looks for plugins."""
    modules = loaded_by(
        "import coatcheck, coatcheck.wsgi\n"
        "coatcheck.wsgi.SessionMiddleware(None, secret='s' * 32, store=coatcheck.MemoryStore())\n"
        "coatcheck.wsgi.SessionMiddleware(None, secret='s' * 32)"
    )
    assert not modules & {"importlib.metadata", "anyio"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_form_no_cycle(module: str) -> None:
    """No module imports itself by way of others when it is loaded."""
    reached: set[str] = set()
    waiting = set(IMPORTS[module])
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= IMPORTS[name] - reached
    assert module not in reached


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_a_driver(module: str) -> None:
    """The drivers are at the top: only the module of a framework loads one, and nothing loads it.

    Litestar speaks ASGI, and makes middlewares in a way of its own.
    """
    drivers = {"litestar"} if module == "litestar" else {"asgi", "wsgi", "litestar"}
    assert not IMPORTS[module] & drivers


CORE = [
    *("session", "cookie", "cookie_header", "setting_checks", "signing"),
    *("codec", "tagged_json", "json_text", "unserializable"),
]
LIFE = [
    *("lifecycle", "session_writer", "rotation"),
    *("group_commit", "group_merge", "change_group", "change"),
]
OUTSIDE = {"runners", "bridge", "registry", "memory", "middleware", "asgi", "wsgi", "sessions"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("errors", set(MODULES)),
        ("store", set(MODULES) - {"errors"}),
        *((module, OUTSIDE | {"session_manager"}) for module in [*CORE, *LIFE]),
        ("session_manager", OUTSIDE),
        ("memory", set(MODULES) - {"errors", "store"}),
    ],
)
def test_imports_point_one_way(module: str, forbidden: set[str]) -> None:
    """Drivers know the request context, it knows sessions and cookies, these the store's terms.

    Imports inside functions count here too.
    """
    assert not EVERY_IMPORT[module] & (forbidden - {module})


REQUEST = ["request_context", "loading", "saving", "ending", "keep_alive"]


@pytest.mark.parametrize("module", [*REQUEST, *LIFE, "operations", "merging"])
def test_the_rules_do_no_io(module: str) -> None:
    """The rules of a session are generators: no event loop, thread or socket is imported."""
    assert not libraries(module) & {"anyio", "asyncio", "trio", "threading", "socket", "http"}


@pytest.mark.parametrize("module", MODULES)
def test_private_attributes_are_used_where_they_are_made(module: str) -> None:
    """No module looks into the objects of another one; a class may use what it has inherited."""
    tree = parse(module)
    nodes = list(ast.walk(tree))
    made = {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_set(node)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef)}
    made |= {node.id for node in nodes if isinstance(node, ast.Name) and is_set(node)}
    strings = (node.value for node in nodes if isinstance(node, ast.Constant))
    made |= {name for name in strings if isinstance(name, str)}  # slots among them
    foreign = {
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in made
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "sys"))
    }
    assert not foreign


ROOT = Path(__file__).parents[3]
#: The code that builds sessions into frameworks.
INTEGRATIONS = [
    *(MODULES[name] for name in ("aiohttp", "aiohttp_session", "fastapi", "litestar")),
    *(MODULES[name] for name in ("pyramid", "sanic", "logins")),
    *sorted((ROOT / "packages" / "flask" / "src").rglob("*.py")),
    *sorted((ROOT / "packages" / "django" / "src").rglob("*.py")),
]


@pytest.mark.parametrize("path", INTEGRATIONS, ids=lambda path: path.stem)
def test_integrations_use_public_names_of_the_core(path: Path) -> None:
    """An integration of ours imports names in an `__all__`, so anybody can write such a one."""
    private = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            private |= {each.name for each in node.names if is_private(each.name)}
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            if node.level and path.is_relative_to(SOURCE):
                source = importlib.util.resolve_name(source, "coatcheck")
            for each in node.names if source.partition(".")[0] == "coatcheck" else ():
                if not is_public(source, each.name):
                    private.add(f"{source}.{each.name}")
    assert private == set()


def is_private(module: str) -> bool:
    return module.partition(".")[0] == "coatcheck" and module not in PUBLIC


def is_public(module: str, name: str) -> bool:
    if f"{module}.{name}" in PUBLIC:
        return True
    return module in PUBLIC and name in importlib.import_module(module).__all__


def is_set(node: ast.Attribute | ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize("module", sorted({*MODULES} - {"contents", "merging"}))
def test_only_the_contents_take_fingerprints(module: str) -> None:
    """Whether a value has changed is found out in one place. Merging compares values, too."""
    assert "marshal" not in libraries(module)


@pytest.mark.parametrize(
    "module", sorted({*MODULES} - {"identity", "session_core", "pending_write", "saving"})
)
def test_only_these_change_the_identity_of_a_session(module: str) -> None:
    """Nobody else says which record a session is."""
    nodes = list(ast.walk(parse(module)))
    changed = [node for node in nodes if isinstance(node, ast.Attribute) and is_set(node)]
    assert "identity" not in {node.attr for node in changed}


def test_requests_have_the_same_steps_with_and_without_await() -> None:
    """A driver of either kind finds the step that the other has."""
    classes = [node for node in parse("request_steps").body if isinstance(node, ast.ClassDef)]
    defined = ast.FunctionDef | ast.AsyncFunctionDef
    steps = [{each.name for each in kind.body if isinstance(each, defined)} for kind in classes]
    assert len(steps) == 2
    assert steps[0] == steps[1] >= {"decide_headers", "commit_late", "give_up", "end"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_alone_are_shown(name: str) -> None:
    """`dir()` of a public module shows its public names and nothing else."""
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_the_package_is_typed() -> None:
    """Type checkers read the annotations, because the package says that they may."""
    assert (SOURCE / "py.typed").is_file()


def test_the_tour_of_the_code_names_each_module() -> None:
    tour = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text("utf-8")
    paths = {path.relative_to(SOURCE) for path in MODULES.values()}
    missing = {path.name for path in paths if f"`{path.as_posix()}`" not in tour}
    assert missing == {"__init__.py", "__main__.py"}


#: The private packages; each may import from those before it.
LAYERS = [
    "_json",
    "_cookies",
    "_records",
    "_stores",
    "_session",
    "_request",
    "_command_line",
]


def reached_from(module: str) -> set[str]:
    """Return the modules that are loaded because of one."""
    reached: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= IMPORTS[name] - reached
    return reached


@pytest.mark.parametrize("module", MODULES)
def test_packages_import_one_way(module: str) -> None:
    """No module of a package loads, directly or not, one of a package further up."""
    layer = package_of(module)
    if layer is not None:
        above = LAYERS[LAYERS.index(layer) + 1 :]
        assert {name for name in reached_from(module) if package_of(name) in above} == set()


def package_of(module: str) -> str | None:
    """Return the private package of a module; None for a public one."""
    first = MODULES[module].relative_to(SOURCE).parts[0]
    return first if first.startswith("_") and not first.startswith("__") else None


def test_a_module_is_public_or_in_a_private_package() -> None:
    """Nobody can take an inner module for a public one."""
    found = {
        module.name
        for package in (coatcheck, coatcheck.testing, coatcheck.old_sessions)
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    }
    assert {name for name in found if "._" not in name} | {"coatcheck"} == set(PUBLIC)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_private_package_says_what_it_is_for_and_nothing_else(layer: str) -> None:
    """So its modules can be imported one by one."""
    (docstring,) = ast.parse((SOURCE / layer / "__init__.py").read_text("utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert "\n" not in ast.literal_eval(docstring.value)
