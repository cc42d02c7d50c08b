"""The house rules, kept by reading the package's source (`ast` only; nothing of it is imported).

Each rule is a function: a package's folder in, complaints out. The rules hold for tremolo, and for
each of them a small bad house shows that it can fail.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import sysconfig
import tokenize
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / 'tremolo'

# A file may import its own room, and rooms on lower floors; peers on one floor know nothing of each
# other. A file that has an entry of its own stands on that floor, wherever it lies.
FLOORS = {
    'errors.py': 0, 'output.py': 0, 'typed.py': 0, 'late.py': 0, 'adopting.py': 0,
    'escaped.py': 0, 'pace.py': 0, 'frames.py': 0, 'machine.py': 0,
    'settings': 1, 'polling': 1, 'sockets': 1,
    'loop': 2, 'http': 2, 'routing': 2,
    'bridge': 3, 'ws': 3, 'tls': 3, 'proxies': 3, 'systemd': 3,
    'throttling': 3, 'rates': 3, 'fair': 3,
    'server': 4,
    'pages': 5, 'mistakes': 5, 'edge': 5, 'access': 5, 'metrics': 5, 'control': 5,
    'workers': 6, 'reload': 6, 'websocket': 6, 'files': 6, 'uploads': 6,
    'events': 6, 'client': 6, 'around': 6, 'places': 6,
    'service': 7,
    'asgi': 8, 'wsgi': 8,
    'web': 9,
    'importer.py': 10,
    '__init__.py': 11, 'exceptions.py': 11, 'asgi_app.py': 11, 'wsgi_app.py': 11,
    'loop/bridge.py': 11,
    'cli': 12, 'welcome.py': 12, 'examples': 12, 'top.py': 12,
    '__main__.py': 13,
}
TOP = 9

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENCODING, tokenize.ENDMARKER}
SANS_IO = {'asyncio', 'os', 'random', 'select', 'selectors', 'socket', 'ssl', 'threading', 'time'}
# The clock, the poller and the network are parameters; only these files name the real ones.
WORLDLY = {
    'polling/poller.py', 'polling/pollers.py', 'loop/reactor.py',
}
# Public in spite of the underscore: documented functions of the standard library.
DOCUMENTED = {('os', '_exit'), ('sys', '_current_frames'), ('sys', '_getframe')}

# The rooms that know asyncio.
ASYNCIO = {'asgi', 'bridge', 'examples'}
# Old addresses: they hold nothing but an import, for programs that were written for them. Nothing
# of the house imports them, so each stands as high as what it leads to.
OLD = {'asgi_app.py', 'wsgi_app.py', 'loop/bridge.py'}

# What writes for people; the table has forms of its own.
SPEAKERS = {'output.py', 'top.py', 'control/screen.py'}

# Lines of code (see `code_lines`) that one file, and one room, may have.
FILE_LINES = 300
ROOM_LINES = 2100

Import = tuple[int, str, tuple[str, ...]]


# Reading

@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding='utf-8'), str(path))


@cache
def walked(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Everything in it, itself too. (Most rules look at each file: once is enough.)"""
    return tuple(ast.walk(tree))


def sources(root: Path) -> list[tuple[str, Path]]:
    """Every Python file below the package, with its name as the rules write it."""
    return sorted((path.relative_to(root).as_posix(), path) for path in root.rglob('*.py'))


@cache
def imports(tree: ast.AST) -> tuple[Import, ...]:
    """(dots, module, names) of every import, wherever it stands."""
    found: list[Import] = []
    for node in walked(tree):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append((node.level, node.module or '', names))
    return tuple(found)


def running_imports(tree: ast.AST) -> list[Import]:
    """The imports that Python runs, late ones too: all but those for the type checker alone."""
    typing_only = [statement for node in walked(tree)
                   if isinstance(node, ast.If)
                   and ast.unparse(node.test) in ('TYPE_CHECKING', 'typing.TYPE_CHECKING')
                   for statement in node.body]
    running = list(imports(tree))
    for statement in typing_only:
        for item in imports(statement):
            running.remove(item)
    return running


def foreign(tree: ast.AST) -> set[str]:
    """The top-level names of what comes from outside the package."""
    return {module.split('.')[0] for dots, module, _ in imports(tree) if not dots} - {'tremolo'}


def targets(root: Path, name: str, item: Import) -> list[str]:
    """The files or rooms of the package that an import reaches, as `loop/task.py` or `loop`."""
    dots, module, names = item
    parts = module.split('.') if module else []
    if dots:
        folder = name.split('/')[:-1]
        parts = folder[:len(folder) - dots + 1] + parts
    elif parts[0] == 'tremolo':
        parts = parts[1:]
    else:
        return []
    # `from . import x` may name files of the folder, or what its __init__ holds.
    whole = [[*parts, each] for each in names if exists(root, [*parts, each])] or [parts]
    return [('/'.join(each) + '.py') if (root.joinpath(*each).with_suffix('.py').exists() and each)
            else '/'.join(each) or '__init__.py' for each in whole]


def exists(root: Path, parts: list[str]) -> bool:
    path = root.joinpath(*parts)
    return path.is_dir() or path.with_suffix('.py').exists()


def room(name: str) -> str:
    return name.split('/')[0] if '/' in name or not name.endswith('.py') else ''


def floor(name: str) -> int:
    return FLOORS.get(name, FLOORS.get(name.split('/')[0], TOP))


@cache
def standard_library() -> frozenset[str]:
    names = getattr(sys, 'stdlib_module_names', None)
    if names is None:
        # Python 3.9: what lies in the library's folder, and what other systems and versions have.
        folder = Path(sysconfig.get_path('stdlib'))
        files = [*folder.iterdir(), *folder.glob('lib-dynload/*')]
        names = {path.name.split('.')[0] for path in files} - {'site-packages'}
        names |= {*sys.builtin_module_names, 'msvcrt', 'tomllib', '__future__'}
    return frozenset({*names, 'sre_parse'})    # (It was in the library until Python 3.14.)


# The rules

def imports_run_downward(root: Path) -> list[str]:
    return [
        f'{name} imports {target}'
        for name, path in sources(root)
        for item in imports(parse(path))
        for target in targets(root, name, item)
        if floor(target) > floor(name)
        or (floor(target) == floor(name) and room(target) != room(name))
    ]


def no_imports_make_a_circle(root: Path) -> list[str]:
    """Report one circle, a shortest one, for each set of files that import each other.

    Late imports count, and those for the type checker alone do not. An import leads to the file
    that it names, which is a package's `__init__.py` if it names the package or what that defines.
    The packages above that file, whose `__init__.py` Python runs first, do not count: else no file
    of a package could be imported by another one.
    """
    edges = running_edges(root)
    complaints = []
    left = sorted(edges)
    while left:
        circle = circle_through(left[0], edges)
        if circle:
            complaints.append(' -> '.join(circle))
        together = {name for name in left
                    if circle and name in reached_from(left[0], edges)
                    and left[0] in reached_from(name, edges)}
        left = [name for name in left[1:] if name not in together]
    return complaints


def running_edges(root: Path) -> dict[str, set[str]]:
    """Return for each file the files of the package that it imports when it runs."""
    return {name: {file_of(root, target)
                   for item in running_imports(parse(path))
                   for target in targets(root, name, item)}
            for name, path in sources(root)}


def file_of(root: Path, target: str) -> str:
    """Return the file that Python runs for a file or a room of `targets`."""
    return target if target.endswith('.py') else f'{target}/__init__.py'


def circle_through(start: str, edges: dict[str, set[str]]) -> list[str]:
    """Return a shortest way from a file back to it, or nothing."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for name in sorted(edges.get(way[-1], ())):
            if name == start:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def reached_from(start: str, edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ways = [start]
    while ways:
        new = edges.get(ways.pop(), set()) - reached
        reached |= new
        ways += new
    return reached


def only_the_standard_library_is_needed(root: Path) -> list[str]:
    return [
        f'{name} imports {module}'
        for name, path in sources(root)
        for module in sorted(foreign(parse(path)) - standard_library())
    ]


def asyncio_stays_in_the_bridge(root: Path) -> list[str]:
    return [
        f'{name} imports {module}'
        for name, path in sources(root)
        if room(name) not in ASYNCIO
        for module in sorted(foreign(parse(path)) & {'asyncio', 'concurrent'})
    ]


def old_addresses_only_lead_on(root: Path) -> list[str]:
    """What stands at an old address: a docstring, an import, and the names."""
    return [f'{name} holds a {type(node).__name__}'
            for name, path in sources(root) if name in OLD
            for node in parse(path).body
            if not isinstance(node, (ast.Expr, ast.ImportFrom))
            and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__')]


def http_knows_no_world(root: Path) -> list[str]:
    return [
        f'{name} imports {module}'
        for name, path in sources(root) if room(name) in ('http', 'ws')
        for module in sorted(foreign(parse(path)) & SANS_IO)
    ]


def the_loop_takes_its_world_as_parameters(root: Path) -> list[str]:
    """Nothing there names the real clock, poller or network, but where they are defaults."""
    complaints = []
    for name, path in sources(root):
        if room(name) != 'loop':
            continue
        if name not in WORLDLY:
            named = foreign(parse(path)) & {'select', 'socket', 'time'}
            complaints += [f'{name} imports {module}' for module in sorted(named)]
        elif name == 'loop/reactor.py':
            complaints += [
                f'{name}:{node.lineno} calls {node.func.value.id}.{node.func.attr}'
                for node in walked(parse(path))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ('select', 'socket', 'time')
            ]
    return complaints


def public_names_exist_and_are_explained(root: Path) -> list[str]:
    complaints = []
    for name, path in sources(root):
        for public in exported(parse(path)):
            found = definition(root, name, public)
            if found is None:
                complaints.append(f'{name} exports {public}, which it has not')
            elif not isinstance(found, ast.stmt):
                continue
            elif isinstance(found, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) \
                    and not ast.get_docstring(found):
                complaints.append(f'{name} exports {public}, which has no docstring')
    return complaints


def exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Tuple)) \
                and isinstance(node.targets[0], ast.Name) and node.targets[0].id == '__all__':
            return [item.value for item in node.value.elts if isinstance(item, ast.Constant)]
    return []


def definition(root: Path, name: str, wanted: str) -> ast.AST | None:
    """Follow a name through the package's imports and aliases to where it is made."""
    nodes = list(parse(root / name).body)
    if any(isinstance(node, ast.FunctionDef) and node.name == '__getattr__' for node in nodes):
        # What that imports when it is asked for is what the type checker sees.
        nodes += [each for node in nodes if isinstance(node, ast.If)
                  and ast.unparse(node.test) == 'TYPE_CHECKING' for each in node.body]
    for node in nodes:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name == wanted:
                return node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            bound = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == wanted for each in bound):
                if isinstance(node.value, ast.Name):
                    return definition(root, name, node.value.id)
                return node
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == wanted:
                    item = (node.level, node.module or '', (alias.name,))
                    return imported(root, name, item, alias)
    return None


def imported(root: Path, name: str, item: Import, alias: ast.alias) -> ast.AST | None:
    reached = targets(root, name, item)
    if not reached:
        return alias
    target = reached[0] if reached[0].endswith('.py') else f'{reached[0]}/__init__.py'
    if Path(target).stem == alias.name:
        return alias
    return definition(root, target, alias.name) if (root / target).exists() else None


def privacy_is_kept(root: Path) -> list[str]:
    return [f'{name}:{complaint}' for name, path in sources(root)
            for complaint in intrusions(parse(path), set())]


def intrusions(tree: ast.AST, own: set[str]) -> list[str]:
    """`x._name` is for self, cls, super(), the class itself and other objects of it."""
    complaints = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            complaints += intrusions(node, {node.name, *own_objects(node)})
            continue
        if isinstance(node, ast.Attribute) and re.match('_(?!_)|__.*(?<!__)$', node.attr):
            whose = ast.unparse(node.value)
            if whose not in own and (whose, node.attr) not in DOCUMENTED:
                complaints.append(f'{node.lineno} reaches into {whose}.{node.attr}')
        complaints += intrusions(node, own)
    return complaints


def own_objects(node: ast.ClassDef) -> set[str]:
    """What names an object of this class inside it, as far as its text alone can tell."""
    own = {'self', 'cls', 'super()'}
    for inner in walked(node):
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Call) \
                and ast.unparse(inner.value.func) in ('cls', 'type(self)', node.name):
            own |= {ast.unparse(target) for target in inner.targets}
        # The one place where another object of the class is not made but met.
        if isinstance(inner, ast.FunctionDef) and inner.name == '__eq__':
            own.add(inner.args.args[-1].arg)
    return own


def tours_name_what_exists(root: Path) -> list[str]:
    """Backticked `file.py`, `function()` and `Class.method` of each README are there."""
    files = {path.name for path in [*root.rglob('*.py'), *root.parent.glob('tests/**/*.py')]}
    defined, members = definitions(root)
    defined |= set(dir(builtins))
    complaints = []
    for tour in sorted([*root.rglob('README.md'), *root.parent.glob('README.md')]):
        prose = re.sub(r'(?ms)^ *```.*?^ *```', '', tour.read_text(encoding='utf-8'))
        for token in re.findall(r'`([^`\n]+)`', prose):
            call = re.fullmatch(r'([\w.]+)\([^()]*\)', token)
            dotted = re.fullmatch(r'([A-Z]\w*)\.(\w+)', token)
            if re.fullmatch(r'[\w./-]+\.py', token):
                good = token.split('/')[-1] in files
            elif call:
                good = call[1].split('.')[-1] in defined or \
                    call[1].split('.')[0] in standard_library()
            elif dotted and dotted[1] in members:
                good = dotted[2] in members[dotted[1]]
            else:
                good = not dotted or hasattr(builtins, dotted[1])
            if not good:
                where = tour.relative_to(root.parent).as_posix()
                complaints.append(f'{where} names `{token}`, which is not there')
    return complaints


def definitions(root: Path) -> tuple[set[str], dict[str, set[str]]]:
    """The names of all functions and classes, and of what each class has (bases of ours too)."""
    defined: set[str] = set()
    members: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for _, path in sources(root):
        for node in walked(parse(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                defined |= {each.id for each in node.targets if isinstance(each, ast.Name)}
            if isinstance(node, ast.ClassDef):
                # (`web` derives a `Request` of its own from the server's.)
                bases.setdefault(node.name, []).extend(map(ast.unparse, node.bases))
                members.setdefault(node.name, set()).update(owned(node))
    for name in members:
        for base in bases[name]:
            members[name] |= members.get(base, set())
    return defined, members


def owned(node: ast.ClassDef) -> set[str]:
    """Methods, class attributes, slots, and what is assigned to self."""
    names = set()
    for inner in walked(node):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(inner.name)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            names.add(inner.attr)
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            names.add(inner.value)
    return names


def lines_are_short(root: Path) -> list[str]:
    """100 columns; a line of a table may have 120."""
    return [
        f'{name}:{number} has {len(line)} columns'
        for name, path in sources(root)
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
        if len(line) > (120 if line.count('|') > 1 else 100)
    ]


def nothing_is_left_for_later(root: Path) -> list[str]:
    return [
        f'{name}:{number} says {line.strip()}'
        for name, path in sources(root)
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
        if re.search(r'\b(TODO|FIXME|XXX)\b', line)
    ]


def functions_are_short(root: Path) -> list[str]:
    return [
        f'{name}: {node.name} has {length} lines'
        for name, path in sources(root)
        for node in walked(parse(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for length in [(node.end_lineno or 0) - node.lineno + 1]
        if length > 60
    ]


def nothing_depends_on_assert(root: Path) -> list[str]:
    """`python -O` leaves assertions out, so they can guard nothing."""
    return [
        f'{name}:{node.lineno} asserts'
        for name, path in sources(root)
        for node in walked(parse(path)) if isinstance(node, ast.Assert)
    ]


@cache
def code_lines(path: Path) -> int:
    """Count the lines of code: without blank lines, comments and docstrings."""
    tree = parse(path)
    explained: set[int] = set()
    for node in walked(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) \
                and ast.get_docstring(node, clean=False) is not None:
            explained |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    with path.open('rb') as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in NO_CODE:
                code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - explained)


def no_file_holds_two_ideas(root: Path) -> list[str]:
    return [f'{name} has {lines} lines of code'
            for name, path in sources(root)
            for lines in [code_lines(path)] if lines > FILE_LINES]


def each_room_is_read_on_its_own(root: Path) -> list[str]:
    rooms: dict[str, int] = {}
    for name, path in sources(root):
        rooms[room(name)] = rooms.get(room(name), 0) + code_lines(path)
    return [f'{name or "the top"} has {lines} lines of code'
            for name, lines in rooms.items() if lines > ROOM_LINES]


def what_is_said_is_escaped_and_counted(root: Path) -> list[str]:
    """All text for people goes through `say`, `complain` or a logger, which know what to do.

    The message of a logger is a constant: by its place the log is kept from saying the same again
    and again (pace.py), and what is not constant is an argument.
    """
    complaints = []
    for name, path in sources(root):
        if name in SPEAKERS or room(name) == 'examples':
            continue
        for node in walked(parse(path)):
            if not isinstance(node, ast.Call):
                continue
            said = ast.unparse(node.func)
            first = node.args[0] if node.args else None
            if said == 'print' or said.startswith(('traceback.print_', 'sys.stdout.write',
                                                   'sys.stderr.write')):
                complaints.append(f'{name}:{node.lineno} calls {said}')
            elif said.startswith('_log.') and isinstance(first, (ast.JoinedStr, ast.BinOp)):
                complaints.append(f'{name}:{node.lineno} logs what is put together')
    return complaints


RULES = (
    imports_run_downward, no_imports_make_a_circle, only_the_standard_library_is_needed,
    asyncio_stays_in_the_bridge, old_addresses_only_lead_on, http_knows_no_world,
    the_loop_takes_its_world_as_parameters, public_names_exist_and_are_explained,
    privacy_is_kept, tours_name_what_exists, lines_are_short, nothing_is_left_for_later,
    functions_are_short, nothing_depends_on_assert,
    no_file_holds_two_ideas, each_room_is_read_on_its_own,
    what_is_said_is_escaped_and_counted,
)


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_in_this_house(rule):
    assert rule(PACKAGE) == []


# The bad houses

def build(folder: Path, files: dict[str, str]) -> Path:
    root = folder / 'tremolo'
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return root


BAD = [
    (imports_run_downward, {'loop/task.py': 'from ..server import Request', 'server/x.py': ''}),
    (imports_run_downward, {'loop/task.py': 'from ..http.parser import x', 'http/parser.py': ''}),
    (imports_run_downward, {'loop/task.py': 'from .. import app', 'app.py': ''}),
    (imports_run_downward, {'loop/task.py': 'import tremolo'}),
    (imports_run_downward, {'loop/task.py': 'import tremolo.http.parser', 'http/parser.py': ''}),
    (imports_run_downward, {'asgi/x.py': 'def f():\n from ..wsgi import y', 'wsgi/y.py': ''}),
    (imports_run_downward, {'settings/x.py': 'from ..app import x', 'app.py': ''}),
    (imports_run_downward, {'app.py': 'from .examples import chat', 'examples/chat.py': ''}),
    (imports_run_downward, {'http/x.py': 'if TYPE_CHECKING:\n from ..loop.y import Y',
                            'loop/y.py': ''}),
    (imports_run_downward, {'loop/y.py': 'def f():\n import tremolo.http.x', 'http/x.py': ''}),
    (no_imports_make_a_circle, {'loop/a.py': 'from .b import x', 'loop/b.py': 'from . import a'}),
    (no_imports_make_a_circle,
     {'loop/a.py': 'from .b import x', 'loop/b.py': 'from . import c',
      'loop/c.py': 'def f():\n from .a import y', 'loop/d.py': 'from .a import x'}),
    (no_imports_make_a_circle,
     {'loop/__init__.py': 'from .a import x', 'loop/a.py': 'def f():\n from ..loop import x'}),
    (no_imports_make_a_circle, {'a.py': 'if TYPE_CHECKING:\n 0\nelse:\n import tremolo.b',
                                'b.py': 'import tremolo.a'}),
    (only_the_standard_library_is_needed, {'app.py': 'import requests'}),
    (only_the_standard_library_is_needed, {'app.py': 'try:\n from uvloop.x import y\nfinally: 0'}),
    (asyncio_stays_in_the_bridge, {'loop/task.py': 'import asyncio.events'}),
    (asyncio_stays_in_the_bridge, {'app.py': 'from concurrent.futures import Future'}),
    (imports_run_downward, {'loop/task.py': 'from .bridge import x', 'loop/bridge.py': ''}),
    (old_addresses_only_lead_on, {'loop/bridge.py': 'def f(): 0'}),
    (http_knows_no_world, {'http/parser.py': 'from time import monotonic'}),
    (http_knows_no_world, {'http/body.py': 'import socket'}),
    (http_knows_no_world, {'ws/frames.py': 'import socket'}),
    (the_loop_takes_its_world_as_parameters, {'loop/timers.py': 'import time'}),
    (the_loop_takes_its_world_as_parameters, {'loop/reactor.py': 'import time\ntime.time()'}),
    (public_names_exist_and_are_explained, {'app.py': "__all__ = ['gone']"}),
    (public_names_exist_and_are_explained, {'app.py': "__all__ = ['f']\ndef f(): 'text' + ''"}),
    (public_names_exist_and_are_explained,
     {'__init__.py': "from .app import A as B\n__all__ = ['B']", 'app.py': 'class A: pass'}),
    (public_names_exist_and_are_explained,
     {'__init__.py': "from .app import A\n__all__ = ['A']", 'app.py': 'class B: pass'}),
    (privacy_is_kept, {'app.py': 'def f(other): return other._secret'}),
    (privacy_is_kept, {'app.py': 'class A:\n def f(self): self.stream._socket.close()'}),
    (privacy_is_kept, {'app.py': 'class A:\n def f(self): return B._state'}),
    (privacy_is_kept, {'app.py': 'import os\nos._wrap_close()'}),
    (tours_name_what_exists, {'README.md': 'read `gone.py`'}),
    (tours_name_what_exists, {'loop/README.md': 'then `vanish()` runs'}),
    (tours_name_what_exists, {'README.md': 'see `A.gone`', 'app.py': 'class A:\n def f(self): 0'}),
    (tours_name_what_exists, {'README.md': 'see `Gone.method`'}),
    (tours_name_what_exists, {'../README.md': 'see `gone.py`'}),
    (lines_are_short, {'app.py': f'x = {"1" * 100}'}),
    (lines_are_short, {'app.py': f'# | {"1" * 120} |'}),
    (nothing_is_left_for_later, {'app.py': '# TODO: everything'}),
    (functions_are_short, {'app.py': 'def f():\n' + ' x = 1\n' * 60}),
    (nothing_depends_on_assert, {'loop/x.py': 'def f(x):\n assert x'}),
    (no_file_holds_two_ideas, {'app.py': 'x = 1\n' * (FILE_LINES + 1)}),
    (no_file_holds_two_ideas, {'app.py': 'x = (\n' + '1,\n' * (FILE_LINES - 1) + ')'}),
    (what_is_said_is_escaped_and_counted, {'app.py': 'print(1)'}),
    (what_is_said_is_escaped_and_counted, {'app.py': 'import traceback\ntraceback.print_exc()'}),
    (what_is_said_is_escaped_and_counted, {'app.py': "_log.error(f'{x} failed')"}),
    (what_is_said_is_escaped_and_counted, {'app.py': "_log.error('%s failed' % x)"}),
    (each_room_is_read_on_its_own, {f'loop/{each}.py': 'x = 1\n' * 201 for each in range(11)}),
]


@pytest.mark.parametrize('rule, files', BAD, ids=[rule.__name__ for rule, _ in BAD])
def test_a_bad_house_is_found_out_by(rule, files, tmp_path):
    assert len(rule(build(tmp_path, files))) == 1


GOOD = {
    '__init__.py': "from .app import A\nfrom .app import A as B\nimport ssl\n__all__ = ['A', 'B']",
    'app.py': '''
import os
from tremolo import settings
from .server.x import X

class A(X):
    """Explained."""
    def f(self):
        self._state = A._f
        super()._g()
        os._exit(1)
    @classmethod
    def make(cls):
        made = cls()
        made._x = 1
        return made
    def __eq__(self, other): return self._x == other._x
''',
    'settings.py': '',
    'server/x.py': 'from ..loop import task\nfrom ..http.parser import x\nimport socket, time',
    'loop/__init__.py': "from .task import *\nfrom .task import T\n__all__ = ['T']",
    'loop/task.py': '"""A task."""\nclass T:\n    """Explained."""\n    def run(self): self.x = 1',
    'loop/reactor.py': 'import time\ndef f(clock=time.monotonic): 0',
    'loop/stream.py': '''
from typing import TYPE_CHECKING
from .task import T
if TYPE_CHECKING:
    from .limit import L
def f() -> None:
    if TYPE_CHECKING:
        import tremolo.loop.limit
''',
    'loop/limit.py': 'from .stream import f\nfrom . import task\ndef g():\n from .stream import f',
    'bridge/bridge.py': 'import asyncio',
    'loop/bridge.py': '"""The old address."""\nfrom ..bridge import bridge\n__all__ = []',
    'http/parser.py': 'x: int = 1  # TODOS and FIXMEUP are words like any other',
    'asgi/http.py': 'import asyncio\nfrom ..server import x',
    'examples/chat.py': f'"""{"x" * 90}\n"""\nfrom .. import A\n# | {"x" * 99} |' + '\n# x' * 400,
    'README.md': '`loop/task.py`, `T.run`, `T.x`, `run()`, `len()`, `os.stat()`\n```\n`no.py`\n```',
}


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_a_good_house_passes(rule, tmp_path):
    assert rule(build(tmp_path, GOOD)) == []
