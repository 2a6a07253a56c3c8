"""The examples in the docstrings of the public functions run, and print what they say.

As everywhere in these tests, a warning is an error.
"""

from __future__ import annotations

import doctest
import inspect
import warnings
from importlib import import_module

import pytest

import rmtaudit.linalg

MODULES = [
    "rmtaudit",
    "rmtaudit.engine.logdet.api",
    "rmtaudit.engine.samples.api",
    "rmtaudit.engine.scan.api",
    "rmtaudit.training",
    "rmtaudit.training.monitor",
    "rmtaudit.training.regulariser",
    *(f"rmtaudit.linalg.{name}" for name in rmtaudit.linalg.__all__),
]
FUNCTIONS = [
    f"{name}.{function}"
    for name in rmtaudit.linalg.__all__
    for function in import_module(f"rmtaudit.linalg.{name}").__all__
    if inspect.isroutine(getattr(import_module(f"rmtaudit.linalg.{name}"), function))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules(name: str) -> None:
    result = doctest.testmod(import_module(name), raise_on_error=False)
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_the_numerical_library_has_an_example(name: str) -> None:
    module, function = name.split(".")
    result = run_examples(getattr(import_module(f"rmtaudit.linalg.{module}"), function))
    assert result.failed == 0
    assert result.attempted > 0


def run_examples(function: object) -> doctest.TestResults:
    """Run the examples of one docstring, each of which imports what it needs."""
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(recurse=False).find(function, "example", globs={}):
        runner.run(test)
    return runner.summarize()


def test_a_warning_in_an_example_is_a_failure() -> None:
    def warned() -> None:
        """Warn.

        >>> import warnings
        >>> warnings.warn("old", DeprecationWarning)
        """

    assert run_examples(warned) == (1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run_examples(warned).failed == 0
