"""vLLM's own argument parser, from its source, without torch: `python real_vllm.py SOURCE < lines.json`.

Reads a list of argument lists (what follows `vllm serve`), answers with a list: null where vLLM takes the
line, else what it says; `{"flags": true}` instead asks for every option that the parser has. The modules
that define arguments are vLLM's own; whatever else of vLLM they import, and whatever is not installed,
is a hollow stand-in. Types and choices that a hollow module holds (quantization methods, parsers) are thus
not checked. Run in a process of its own, because it changes how modules are found.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import re
import sys
import types
from pathlib import Path

OWN = (
    "vllm.config", "vllm.engine.arg_utils", "vllm.entrypoints.common.cli_args", "vllm.envs",
    "vllm.exceptions", "vllm.utils.argparse_utils", "vllm.utils.mem_constants",
    "vllm.v1.attention.backends.registry",
)  # fmt: skip
"""The modules that arguments, their types and their choices are defined in."""


class HollowType(type):
    """Answers whatever is asked of it with something hollow."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = HollowType(name, (Hollow,), {})
        setattr(cls, name, made)
        return made

    def __call__(cls, *given, **named):
        return given[0] if len(given) == 1 and callable(given[0]) and not named else cls  # a bare decorator

    def __instancecheck__(cls, one):
        return type(one) is HollowType

    def __getitem__(cls, key):
        return cls

    def __iter__(cls):
        return iter(())

    def __contains__(cls, one):
        return False

    def __enter__(cls):
        return cls

    def __exit__(cls, *error):
        return None

    def __lt__(cls, other):
        return False

    __gt__ = __le__ = __ge__ = __lt__


class Hollow(metaclass=HollowType):
    """A class of a package that is not here."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema  # noqa: PLC0415 - only where pydantic asks

        return core_schema.any_schema()


class HollowModule(types.ModuleType):
    __path__ = ()
    __version__ = "0"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = HollowType(name, (Hollow,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class HollowModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds everything, and puts nothing into it."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return HollowModule(spec.name)

    def exec_module(self, module):
        pass


class OwnModules(HollowModules):
    """vLLM's modules of arguments from its source, and the others of vLLM hollow."""

    def __init__(self, source):
        self.source = source

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "vllm":
            return None
        if any(name == own or name.startswith(f"{own}.") for own in OWN):
            place = self.source.joinpath(*name.split(".")[1:])
            if place.is_dir():
                init = place / "__init__.py"
                return importlib.util.spec_from_file_location(
                    name, init, submodule_search_locations=[str(place)]
                )
            return importlib.util.spec_from_file_location(name, place.with_suffix(".py"))
        return super().find_spec(name)


def parser_from(source):
    sys.modules["regex"] = re  # the arguments' patterns are plain ones
    sys.meta_path.insert(0, OwnModules(source))
    sys.meta_path.append(HollowModules())
    from vllm.entrypoints.common.cli_args import make_arg_parser  # noqa: PLC0415 - found from here on
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    return make_arg_parser(FlexibleArgumentParser())


def complaint(parser, words):
    from vllm.config.cache import KV_CACHE_DTYPES  # noqa: PLC0415 - the parser takes any word here, the engine not

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            given = parser.parse_args(words)
        except SystemExit:
            return said.getvalue().strip().splitlines()[-1]
    return None if given.kv_cache_dtype in KV_CACHE_DTYPES else f"no cache type {given.kv_cache_dtype}"


def main():
    parser = parser_from(Path(sys.argv[1]))
    asked = json.load(sys.stdin)
    options = {text for action in parser._actions for text in action.option_strings}
    answer = sorted(options) if isinstance(asked, dict) else [complaint(parser, words) for words in asked]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
