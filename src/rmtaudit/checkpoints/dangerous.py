"""Names that a checkpoint has no business with.

Nothing that a pickle names is ever imported or called here, so this list protects nobody from execution. It
tells a poisoned file, which runs commands, imports modules by name or reaches files and is refused as a
whole, from one that merely holds classes we do not know (partial functions, enumerations, settings).
"""

from __future__ import annotations

# fmt: off
_MODULES = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "socketserver", "ssl", "select",
    "pty", "tty", "fcntl", "mmap", "syslog", "importlib", "imp", "zipimport", "pkgutil",
    "runpy", "code", "codeop", "compileall", "py_compile", "marshal", "types", "inspect", "gc", "ast",
    "dis", "signal", "ctypes", "_ctypes", "cffi", "_cffi_backend", "pickle", "_pickle", "cPickle",
    "pickletools", "shelve", "dbm", "dill", "cloudpickle", "joblib", "multiprocessing", "_posixsubprocess",
    "_winapi", "_xxsubinterpreters", "asyncio", "concurrent", "sched", "webbrowser",
    "antigravity", "http", "httplib", "urllib", "urllib2", "urllib3", "requests", "httpx", "aiohttp",
    "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc", "nntplib", "paramiko", "popen2",
    "pdb", "bdb", "cProfile", "timeit", "pydoc", "doctest", "unittest", "idlelib", "lib2to3", "pip",
    "setuptools", "distutils", "ensurepip", "venv", "sitecustomize", "tempfile", "fileinput", "glob",
    "linecache", "platform", "ntpath", "posixpath", "tarfile", "zipfile", "winreg", "_winreg", "msvcrt",
    "atexit", "IPython", "numexpr",
})

_BUILTINS = frozenset({
    "eval", "exec", "execfile", "compile", "open", "file", "input", "raw_input", "__import__", "reload",
    "setattr", "delattr", "globals", "locals", "vars", "dir", "breakpoint", "apply",
})

_EXACT = frozenset({
    "operator.methodcaller", "operator.call", "_operator.methodcaller", "_operator.call", "codecs.open",
    "io.open", "_io.open", "io.open_code", "_io.open_code",
    "_io.FileIO", "io.FileIO", "pathlib.Path.write_text", "pathlib.Path.write_bytes",
    "pathlib.Path.unlink", "copyreg.add_extension", "copyreg.pickle", "copyreg.constructor",
    "logging.config.listen", "logging.config.dictConfig", "logging.FileHandler", "numpy.load",
    "numpy.save", "numpy.fromfile", "numpy.memmap", "numpy.testing._private.utils.runstring",
    "numpy.testing.runstring", "numpy.f2py.compile", "numpy.distutils.exec_command", "pandas.eval",
    "pandas.read_pickle", "pandas.io.pickle.read_pickle", "yaml.load", "yaml.unsafe_load", "torch.load",
    "torch.save", "torch.serialization.load", "torch.serialization.save",
    "torch.storage._load_from_bytes", "torch.jit.load", "torch.jit._script.script",
    "torch.package.PackageImporter", "torch.ops.load_library", "torch._ops.load_library",
    "torch.classes.load_library", "torch._C._load_for_lite_interpreter",
    "torch._utils._import_dotted_name", "torch.distributed._tools.utils.run",
})

_HARMLESS = frozenset({
    "types.SimpleNamespace", "types.MappingProxyType", "types.GenericAlias", "types.NoneType",
    "types.UnionType", "types.MethodType",
    "inspect.Parameter", "inspect.Signature", "inspect._empty", "inspect._ParameterKind",
    "signal.Signals", "signal.Handlers", "signal.Sigmasks", "os.PathLike", "os.stat_result",
    "os.terminal_size", "http.HTTPStatus", "socket.AddressFamily", "socket.SocketKind",
    "multiprocessing.context.SpawnContext", "multiprocessing.context.ForkContext", "platform.uname_result",
    "asyncio.exceptions.CancelledError", "asyncio.exceptions.TimeoutError",
    "torch._dynamo.eval_frame.OptimizedModule",
    *(f"{module}.{name}" for module in ("posixpath", "ntpath")
      for name in ("join", "basename", "dirname", "split", "splitext", "normpath")),
    *(f"urllib.parse.{name}" for name in ("ParseResult", "SplitResult", "DefragResult")),
})
"""Classes and functions of the modules above that run no command, import nothing and reach no file."""

_TREES = (
    "torch.hub", "torch.utils.cpp_extension", "torch._dynamo", "torch._inductor", "torch.utils.bundled",
    "torch.package", "torch.testing", "torch.fx.experimental", "torch.distributed.rpc",
    "torch.utils.model_zoo", "torch.utils.data.datapipes", "torch.utils.collect_env",
)

_SYSTEM = frozenset({
    "os", "posix", "nt", "subprocess", "importlib", "builtins", "__builtin__", "ctypes", "pty", "runpy",
    "shutil", "socket", "sys",
})
# fmt: on


def is_dangerous(module: str, name: str) -> bool:
    """Whether ``module.name`` can run code, import modules by name, or reach files or the network.

    Also where the path goes through another module (``torch.serialization.os`` ``system``) or ends at one.
    """
    parts = f"{module}.{name}".split(".")
    root = parts[0]
    if any(part.startswith("__") and part.endswith("__") for part in name.split(".")[1:]):
        return True  # an attribute walk: object.__subclasses__, Model.forward.__globals__
    if any(".".join(parts[:end]) in _HARMLESS for end in range(2, len(parts) + 1)):
        return False
    if root in _MODULES or ".".join(parts) in _EXACT:
        return True
    if root in {"builtins", "__builtin__"} and len(parts) > 1 and parts[1] in _BUILTINS:
        return True
    path = ".".join(parts) + "."
    if any(path.startswith(f"{tree}.") for tree in _TREES):
        return True
    return any(part in _SYSTEM for part in parts[1:])
