"""Code of the user's that runs because the user named it: ``pkg.module:function`` or ``file.py:function``."""

import hashlib
import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from diffeval.errors import DiffevalError

FORMS = "pkg.module:factory or file.py:factory"


@contextmanager
def user_code(who: str, *folders: Path) -> Iterator[None]:
    """Whatever goes wrong inside is one line that says where; the working directory and ``folders`` are importable.

    Raises:
        DiffevalError: for any error inside, SystemExit included.
    """
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in (*folders, Path.cwd())]
    try:
        yield
    except DiffevalError:
        raise
    except (Exception, SystemExit) as error:
        raise DiffevalError(f"{who} fails: {one_line(error)}") from error
    finally:
        sys.path[:] = before


def call_factory(who: str, spec: str, *offered: object) -> Any:
    """Calls the named function, with as many of the ``offered`` arguments as it has parameters without a default.

    Args:
        who: begins every message, e.g. ``extractor: mine.py:make``.
        spec: where the function is.
        offered: what it may take.

    Raises:
        DiffevalError: if there is no such function, or it fails.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name.isidentifier():
        raise DiffevalError(f"{who} names no function; write {FORMS}")
    folders = (Path(where).resolve().parent,) if where.endswith(".py") else ()
    with user_code(who, *folders):
        factory: Callable[..., Any] | None = getattr(_module(who, where), name, None)
        if not callable(factory):
            raise DiffevalError(f"{who}: {where} has no function {name}")
        return factory(*offered[: _taken(factory)])


def _taken(factory: Callable[..., Any]) -> int:
    """Parameters that a caller must fill by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters.values()
    return sum(one.kind in kinds and one.default is inspect.Parameter.empty for one in parameters)


def _module(who: str, where: str) -> ModuleType:
    path = Path(where)
    if path.suffix != ".py":
        return importlib.import_module(where)
    if not path.is_file():
        raise DiffevalError(f"{who}: {where} does not exist; write {FORMS}")
    path = path.resolve()
    # Under a name of its own, so that a file called torch.py hides nothing; known to the import system, as
    # dataclasses and copies of what it defines need it to be.
    module = ModuleType(f"diffeval_user_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def one_line(error: BaseException) -> str:
    """Type, message and place of an error in somebody's code: the last place that is not in an installed package."""
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if not _installed(place.filename)]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def _installed(file: str) -> bool:
    """Whether a file is Python's, an installed package's, or ours."""
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    homes.add(str(Path(__file__).parent))
    return file.startswith("<") or any(Path(file).is_relative_to(home) for home in homes)


def code_sha256(modules: set[str]) -> str:
    """sha256 over the user's own files among those that define the named modules."""
    files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
    own = sorted(file for file in files if file is not None and Path(file).is_file() and not _installed(file))
    digests = (hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in own)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
