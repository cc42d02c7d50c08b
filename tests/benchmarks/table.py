"""The table: medians over the rounds, and ratios that are made within each round.

`of floor` is a server's share of what the floor does. `tremolo` says how many times as much
tremolo does as that server: above 1.00, tremolo is ahead. `busy`, `load` and `others` are the
cores that the server, the load generator and everything else on the machine used.
"""

from __future__ import annotations

from statistics import median

from racer import Racer

# More than so many cores used by others, and the race should be run again.
NOISE = 0.1


# The figures of each server, by its name.
Figures = dict[str, dict[str, float]]


def ratios(mine: list[float], others: list[float]) -> list[float]:
    return [a / b for a, b in zip(mine, others)]


def reference_of(racers: list[Racer]) -> dict[str, Racer]:
    """Whom each racer is compared with: native servers with tremolo, others with its ASGI or WSGI.

    Ours on another Python is compared with the same on the Python of the race.
    """
    by_name = {racer.name: racer for racer in racers}
    ours = {'native': by_name.get('tremolo'), 'asgi': by_name.get('tremolo-asgi'),
            'wsgi': by_name.get('tremolo-wsgi')}
    found = {}
    for racer in racers:
        plain, _, python = racer.name.partition('@')
        if racer.server.kind == 'floor' or (racer.server.ours and not python):
            continue
        reference = by_name.get(plain) if python else ours[racer.server.kind]
        if reference:
            found[racer.name] = reference
    return found


def line_of(racer: Racer, floor: Racer | None, reference: Racer | None) -> dict[str, float]:
    line = {
        'rate': median(racer.rates), 'per_cpu': median(racer.per_cpu), 'busy': median(racer.busy),
        'load': median(racer.load), 'others': median(racer.others),
        'p50': median(racer.p50), 'p99': median(racer.p99), 'errors': racer.errors}
    if floor:
        line['rate_ratio'] = median(ratios(racer.rates, floor.rates))
        line['per_cpu_ratio'] = median(ratios(racer.per_cpu, floor.per_cpu))
    if reference:
        rates = ratios(reference.rates, racer.rates)
        line['ahead_rate'] = median(rates)
        line['ahead_rate_least'], line['ahead_rate_most'] = min(rates), max(rates)
        per_cpu = ratios(reference.per_cpu, racer.per_cpu)
        line['ahead_per_cpu'] = median(per_cpu)
        line['ahead_per_cpu_least'], line['ahead_per_cpu_most'] = min(per_cpu), max(per_cpu)
    return line


def pair(line: dict[str, float], first: str, second: str) -> str:
    return f'{line[first]:13.2f}{line[second]:11.2f}' if first in line else ' ' * 24


def spread(line: dict[str, float]) -> str:
    """The worst beside the best round of tremolo, per CPU second."""
    if 'ahead_per_cpu' not in line:
        return ' ' * 12
    return f'{line["ahead_per_cpu_least"]:.2f}-{line["ahead_per_cpu_most"]:.2f}'.rjust(12)


def native_beside_asgi(racers: list[Racer]) -> None:
    """Say how many times as much the native handler does as our own ASGI application."""
    by_name = {racer.name: racer for racer in racers}
    if 'tremolo' in by_name and 'tremolo-asgi' in by_name:
        per_cpu = ratios(by_name['tremolo'].per_cpu, by_name['tremolo-asgi'].per_cpu)
        print(f'tremolo beside tremolo-asgi: {median(per_cpu):.2f} per CPU-s '
              f'({min(per_cpu):.2f}-{max(per_cpu):.2f})')


def report(racers: list[Racer], unit: str) -> Figures:
    """Print the table; return the same figures."""
    figures = {}
    floor = next((racer for racer in racers if racer.server.kind == 'floor'), None)
    references = reference_of(racers)
    wide = max(19, *(len(racer.name) + 1 for racer in racers))
    print(f'{"":{wide}}{unit + "/s":>12}{"per CPU-s":>12}{"busy":>6}{"load":>6}{"others":>8}'
          f'{"p50 ms":>9}{"p99 ms":>9}'
          + (f'{"of floor: /s":>13}{"per CPU-s":>11}' if floor else '')
          + (f'{"tremolo: /s":>13}{"per CPU-s":>11}{"worst-best":>12}' if references else '')
          + f'{"errors":>8}')
    for racer in racers:
        line = line_of(racer, floor, references.get(racer.name))
        print(f'{racer.name:{wide}}{line["rate"]:12,.0f}{line["per_cpu"]:12,.0f}{line["busy"]:6.2f}'
              f'{line["load"]:6.2f}{line["others"]:8.2f}'
              f'{line["p50"]:9.2f}{line["p99"]:9.2f}'
              + (pair(line, 'rate_ratio', 'per_cpu_ratio') if floor else '')
              + (pair(line, 'ahead_rate', 'ahead_per_cpu') + spread(line) if references else '')
              + f'{racer.errors:8}' + (f'  ({racer.server.remark})' if racer.server.remark else ''))
        figures[racer.name] = {key: round(value, 4) for key, value in line.items()}
    if references:
        print('tremolo: how many times as much tremolo does, in the same round; the median, and '
              'the worst and the best round')
    native_beside_asgi(racers)
    if max(line['others'] for line in figures.values()) > NOISE:
        print('the machine was not quiet (others): requests per second say little')
    for racer in racers:
        said = racer.said()
        if said:
            print(f'{racer.name} wrote {len(said)} lines, the last: {said[-1][:200]}')
    return figures
