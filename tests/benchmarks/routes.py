"""Routes: how long a router looks for a path, in microseconds, with many routes of one shape.

    python tests/benchmarks/routes.py [COUNT]

Each line has the worst of some paths: the first and the last route, one that is not there, and one
without the method. The time is the least of several rounds.
"""

from __future__ import annotations

import random
import sys
import time

from tremolo.routing import Router

ROUNDS, LOOPS = 7, 200

# The shape of each route, and a path for it; {} is a number.
SHAPES = {
    'exact': ('/page/{}', '/page/{}'),
    'exact, escaped': ('/page/{}', '/p%61ge/{}'),
    'text, then a group': ('/p{}/<int:id>', '/p{}/7'),
    'a group, then text': ('/<name>/p{}', '/x/p{}'),
    'groups, then text': ('/<a>/<b>/<c>/p{}', '/x/y/z/p{}'),
    'mixed, begins': ('/file{}-<int:id>.txt', '/file{}-7.txt'),
    'mixed, ends': ('/<name>-{}.txt', '/x-{}.txt'),
    'path, then text': ('/<path:name>/p{}', '/a/b/c/d/e/p{}'),
    'text, then path': ('/p{}/<path:name>', '/p{}/a/b/c/d/e'),
}


def seconds(router: Router[int], method: str, path: bytes) -> float:
    """How long one search takes, at best."""
    find, best = router.find, float('inf')
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(LOOPS):
            find(method, path)
        best = min(best, (time.perf_counter() - begin) / LOOPS)
    return best


def row(name: str, router: Router[int], paths: list[tuple[str, str]]) -> None:
    """Print the worst of some searches."""
    worst, asked = max((seconds(router, method, path.encode()), f'{method} {path}')
                       for method, path in paths)
    print(f'{name:20} {worst * 1e6:8.2f} us   {asked[:60]}')


def mixture(count: int) -> tuple[Router[int], list[tuple[str, str]]]:
    """Patterns of all kinds that overlap as much as chance allows, and paths that meet many."""
    chance = random.Random(22)
    router: Router[int] = Router()
    kinds = ['a', 'b', '1', '<name>', '<int:id>', 'x-<name>', '<path:rest>']
    while len(router.routes) < count:
        segments = [chance.choice(kinds) for _ in range(chance.randint(2, 6))]
        path = ''.join('/' + kind.replace('name', f'n{i}').replace('id', f'i{i}')
                       for i, kind in enumerate(segments))
        try:
            router.add(path, {'GET': 0})
        except ValueError:
            continue    # Twice the same, or two <path:...>.
    paths = ['/' + '/'.join(chance.choice(['a', 'b', '1', 'x-1', 'z']) for _ in range(size))
             for size in range(1, 9) for _ in range(10)]
    return router, [(method, path) for path in paths for method in ('GET', 'PUT')]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name, (pattern, path) in SHAPES.items():
        router: Router[int] = Router()
        for number in range(count):
            router.add(pattern.format(number), {'GET': number})
        paths = [path.format(each) for each in (0, count - 1, 'none')]
        row(name, router, [(method, each) for each in [*paths, paths[0] + '/x', '/']
                           for method in ('GET', 'PUT')])
    row('chance', *mixture(count))


if __name__ == '__main__':
    main()
