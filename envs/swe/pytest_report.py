"""A pytest plugin of ours that runs beside the tests of a task: it tells how each ended, signed, in a file of its own.

What stands on the output of a test run is what any code under test may print. This runs inside of the task's own
Python and pytest, however old they are, so it imports nothing of ours and is written in the plainest Python.

The order, a file beside this one, is read and removed when this module is imported, which is before any code of the
repository runs: a conftest.py may import the code under test. It holds the key, the path to write, and what is to be
known of the patch. Code that goes looking for the key in this process's memory finds it.
"""

import hashlib
import hmac
import importlib.machinery
import json
import os
import sys
import unittest  # noqa: F401  it is watched, so it must be there before anybody could change it
import zlib
from typing import Any

import pytest

WATCHED = ("_pytest", "pluggy", "unittest")
"""Packages whose functions may not be replaced by code of the patch while the tests run."""


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any) -> None:
    """Before any conftest.py is read."""
    if ORDER:
        key, target, patch = ORDER.pop()
        reporter = _reporter(early_config, key.encode(), target, patch)
        early_config.pluginmanager.register(reporter, "trajc-reporter")
    else:
        early_config.pluginmanager.register(_worker(early_config), "trajc-worker")


def _worker(config: Any) -> Any:
    """For a process that may run tests for the one that has the order: it tells that one what was replaced in it."""
    replaced = _watched(config)

    class Worker(_XfailWatch):
        def changed(self) -> Any:
            return (getattr(config, "workerinput", {}).get("trajc") or {}).get("changed", ())

        def pytest_sessionfinish(self, session: Any) -> None:
            patch = getattr(config, "workerinput", {}).get("trajc")
            if patch:
                config.workeroutput["trajc"] = replaced(patch) + _exchanged(session, patch["changed"])

    return Worker()


def _take_order() -> Any:
    """Nothing in a process that another pytest started: that one tells."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "order")
    if not os.path.exists(path):
        return []
    with open(path) as order:
        taken = json.load(order)
    os.remove(path)
    sys.path[:] = [p for p in sys.path if p != here] + [here]
    return [taken]


def _reporter(config: Any, key: bytes, target: str, patch: Any) -> Any:
    worst: Any = {}
    named = getattr(config, "cwd_relative_nodeid", str)
    replaced = _watched(config)
    elsewhere: Any = []

    def note(report: Any, outcome: str) -> None:
        id = named(report.nodeid)
        if worst.get(id) not in ("failed", "error"):
            worst[id] = outcome

    class Reporter(_XfailWatch):
        def changed(self) -> Any:
            return patch["changed"]

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when != "call":
                if report.failed:
                    note(report, "error")
                elif report.skipped:
                    note(report, _unfinished(report))
            elif report.skipped:
                note(report, _unfinished(report))
            elif report.outcome != "rerun":  # as a plugin says of a failure that it tries again
                note(report, "passed" if report.passed else "failed")

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                note(report, "error")

        @pytest.hookimpl(optionalhook=True)
        def pytest_configure_node(self, node: Any) -> None:
            node.workerinput["trajc"] = patch

        @pytest.hookimpl(optionalhook=True)
        def pytest_testnodedown(self, node: Any) -> None:
            elsewhere.extend((getattr(node, "workeroutput", None) or {}).get("trajc", []))

        def pytest_sessionfinish(self, session: Any) -> None:
            found = sorted({*replaced(patch), *_exchanged(session, patch["changed"]), *elsewhere})
            data = zlib.compress(json.dumps([worst, found[:5]]).encode())
            with open(target, "wb") as file:
                file.write(hmac.new(key, data, hashlib.sha256).digest() + data)

    return Reporter()


class _XfailWatch:
    """Marks a report whose test was ended as an expected failure by nobody who expects it."""

    def changed(self) -> Any:
        raise NotImplementedError

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: Any) -> Any:
        out = yield
        if call.excinfo is not None and _is_borrowed_xfail(call.excinfo.value, self.changed()):
            out.get_result().trajc_borrowed = True


def _unfinished(report: Any) -> str:
    """The outcome of a test that pytest reports as skipped, as it does what was expected to fail."""
    if not hasattr(report, "wasxfail"):
        return "skipped"
    return "failed" if getattr(report, "trajc_borrowed", False) else "passed"


def _is_borrowed_xfail(error: Any, changed: Any) -> bool:
    """Whether `pytest.xfail` was raised by code of the patch, or where nobody wrote its name: the runner aside, the
    last function that it came through."""
    if not isinstance(error, pytest.xfail.Exception):
        return False
    runner = os.path.dirname(str(sys.modules["_pytest"].__file__))
    codes, at = [], error.__traceback__
    while at is not None:
        codes.append(at.tb_frame.f_code)
        at = at.tb_next
    outside = [code for code in codes if not code.co_filename.startswith(runner)]
    return bool(outside) and (_is_theirs(outside[-1].co_filename, changed) or "xfail" not in outside[-1].co_names)


def _watched(config: Any) -> Any:
    """How the runner is now, before any code of the repository runs: a function that tells what the patch replaced."""
    functions = _functions()
    hooks = {id(function): function for _, function in _hooks(config)}

    def replaced(patch: Any) -> Any:
        changed, brought = set(patch["changed"]), {tuple(hook) for hook in patch["brought"]}
        found = _replaced(functions, changed) + _hiding(patch["created"], patch["root"])
        for name, function in _hooks(config):
            if id(function) not in hooks and _is_planted(name, function, changed, brought):
                found.append("the hook " + name)
        return sorted(found)[:5]

    return replaced


def _functions() -> Any:
    """Every function of the watched packages, by where it stands: the function and its code."""
    found: Any = {}
    for module_name, module in list(sys.modules.items()):
        if module is not None and module_name.partition(".")[0] in WATCHED:
            for holder in [module] + [v for v in vars(module).values() if isinstance(v, type)]:
                for name, value in list(vars(holder).items()):
                    value = getattr(value, "__func__", value)
                    code = getattr(value, "__code__", None)
                    if code is not None:
                        found[holder, name] = (value, code)
    return found


def _replaced(functions: Any, changed: Any) -> Any:
    """What stands in the place of a watched function now and was written in a changed file, or in no file."""
    found = []
    for (holder, name), (value, code) in functions.items():
        now = vars(holder).get(name)
        now = getattr(now, "__func__", now)
        new = getattr(now, "__code__", None)
        if now is value and new is code:
            continue
        file = getattr(new, "co_filename", None) or _file_of(type(now), now)
        if _is_theirs(file, changed):
            found.append(getattr(holder, "__name__", "?") + "." + name)
    return found


def _is_theirs(file: Any, changed: Any) -> bool:
    return file is None or file in changed or not os.path.exists(file)


def _hiding(created: Any, root: str) -> Any:
    """Modules installed outside of the repository, in whose place a new file of the patch was loaded."""
    found = []
    for name, module in list(sys.modules.items()):
        file: Any = getattr(module, "__file__", None)
        if file in created and "." not in name:
            here = os.path.dirname(file)
            here = os.path.dirname(here) if os.path.basename(file) == "__init__.py" else here
            spec = importlib.machinery.PathFinder.find_spec(name, [p for p in sys.path if os.path.abspath(p) != here])
            if spec is not None and spec.origin and not spec.origin.startswith(os.path.join(root, "")):
                found.append("the installed module " + name)
    return found


def _exchanged(session: Any, changed: Any) -> Any:
    """Test modules in whose place something else was imported: by a loader of the patch's, from another file, or made
    without any."""
    found = set()
    for item in getattr(session, "items", []):
        module: Any = getattr(item, "module", None)
        if module is not None:
            spec = getattr(module, "__spec__", None)
            origin = getattr(spec, "origin", None) or ""
            made = [getattr(value, "__code__", None) for value in vars(type(getattr(spec, "loader", None))).values()]
            theirs = any(code is not None and code.co_filename in changed for code in made)
            path = str(getattr(item, "path", None) or item.fspath)
            moved = os.path.exists(origin) and os.path.exists(path) and not os.path.samefile(origin, path)
            if spec is None or theirs or moved:
                found.add("the test module " + getattr(module, "__name__", "?"))
    return sorted(found)[:5]


def _is_planted(name: str, function: Any, changed: Any, brought: Any) -> bool:
    """Whether a hook that came after us is the patch's. What a changed file had as a hook before, a conftest.py of the
    repository may have brought in."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    file = getattr(code, "co_filename", None)
    if not _is_theirs(file, changed):
        return False
    return file not in changed or getattr(code, "co_name", "") != name or (file, name) in brought


def _hooks(config: Any) -> Any:
    """What is called for each hook: its name and the function."""
    for name, caller in list(vars(config.pluginmanager.hook).items()):
        for implementation in getattr(caller, "get_hookimpls", list)():
            yield name, implementation.function


def _file_of(kind: Any, thing: Any) -> Any:
    """Where an object's own code lies: a module's file, or that of the module which defines its class."""
    file = getattr(thing, "__file__", None)
    module = sys.modules.get(getattr(kind, "__module__", ""), None)
    return file or getattr(module, "__file__", None)


ORDER = _take_order()
