"""``--model``: the user's own code that makes the network. It runs because the user named it; nothing else does."""

import hashlib
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from diffeval.checkpoints.declaration import Declaration
from diffeval.errors import DiffevalError

FORMS = "pkg.module:factory or file.py:factory"


@contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    """Puts folders first on ``sys.path``, and takes them off again."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


def make_network(spec: str) -> tuple[torch.nn.Module, Declaration]:
    """Calls the factory: the network, and what it declares; nothing where it returns the network alone.

    The working directory is importable meanwhile, and so is the folder of ``file.py``. The network's random initial
    weights are drawn without moving the global random state.

    Raises:
        DiffevalError: if there is no such factory, it fails, or returns something else.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name.isidentifier():
        raise DiffevalError(f"checkpoint: --model {spec!r} names no factory; write {FORMS}")
    folders = (Path.cwd(), *((Path(where).resolve().parent,) if where.endswith(".py") else ()))
    with _own_errors(spec), _importable(*folders), torch.random.fork_rng(devices=[]):
        module = _module(where)
        factory = getattr(module, name, None)
        if not callable(factory):
            raise DiffevalError(f"checkpoint: --model {spec}: {where} has no function {name}")
        made = factory()
    network, declaration = made if isinstance(made, tuple) and len(made) == 2 else (made, Declaration())
    if not isinstance(network, torch.nn.Module) or not isinstance(declaration, Declaration):
        kinds = ", ".join(type(part).__name__ for part in (made if isinstance(made, tuple) else (made,)))
        raise DiffevalError(
            f"checkpoint: --model {spec} returns {kinds}; needs a torch.nn.Module and a diffeval.Declaration"
        )
    return network.cpu().eval().requires_grad_(False).float(), declaration


@contextmanager
def _own_errors(spec: str) -> Iterator[None]:
    """Whatever goes wrong in the user's code is one line that says where."""
    try:
        yield
    except DiffevalError:
        raise
    except (Exception, SystemExit) as error:
        raise DiffevalError(f"checkpoint: --model {spec} fails: {one_line(error)}") from error


def _module(where: str) -> ModuleType:
    path = Path(where)
    if path.suffix != ".py":
        return importlib.import_module(where)
    if not path.is_file():
        raise DiffevalError(f"checkpoint: --model: {where} does not exist; write {FORMS}")
    path = path.resolve()
    # Under a name of its own, so that a file called torch.py hides nothing; known to the import system, as
    # dataclasses and deep copies of what it defines need it to be.
    module = ModuleType(f"diffeval_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def one_line(error: BaseException) -> str:
    """Type, message and place of an error in somebody's code: the last place that is not in an installed package."""
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if not _installed(place.filename)]
    place = (own or places)[-1]
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message} ({place.filename}:{place.lineno})"


def _installed(file: str) -> bool:
    """Whether a file is Python's, an installed package's, or ours."""
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    homes.add(str(Path(__file__).parent.parent))
    return file.startswith("<") or any(Path(file).is_relative_to(home) for home in homes)


def code_sha256(spec: str, network: torch.nn.Module) -> str:
    """sha256 over the files with the user's code: the factory's, and those of the network's layers."""
    where = spec.rpartition(":")[0]
    files = {Path(where).resolve()} if where.endswith(".py") else {_file_of(where)}
    files |= {_file_of(type(layer).__module__) for layer in network.modules()}
    own = sorted(file for file in files if file is not None and file.is_file() and not _installed(str(file)))
    digests: list[Any] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in own]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else Path(file).resolve()
