"""
The table, as Markdown and as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import frozen

from bench.jobs import Job, Sample
from bench.rounds import Outcome


@frozen
class Row:
    """
    One server at one job: medians of the rounds.

    :ivar figure: see L{Sample}.
    :ivar ratio: the median of the ratios within each round; None: nginx was not measured.
    :ivar met: is the target of the issue met?  None: it has none, or this is another server.
    """

    job: Job
    peer: str
    figure: float
    ratio: float | None
    rate: float | None
    p50: float | None
    p99: float | None
    errors: int
    met: bool | None


def middle(values: Iterable[float | None]) -> float | None:
    """
    The median of what is there; None of nothing.
    """
    there = [value for value in values if value is not None]
    return median(there) if there else None


def ratio(samples: Sequence[Sample], baseline: Sequence[Sample]) -> float | None:
    """
    How a server compares: the median over the rounds of its figure divided by nginx's in the same round.
    """
    return middle(
        mine.ratio if mine.ratio is not None else mine.figure / its.figure if its.figure else None
        for mine, its in zip(samples, baseline, strict=False)
    )


def rows(outcome: Outcome, baseline: str, ours: str) -> list[Row]:
    """
    The rows of one job, in the order in which the servers were measured.

    :param baseline: the server that the others are compared with.
    :param ours: the server that has targets.
    """
    job = outcome.job
    found = []
    for peer, samples in outcome.samples.items():
        figure = median(sample.figure for sample in samples)
        compared = ratio(samples, outcome.samples.get(baseline, ()))
        met = None
        if peer == ours and job.limit is not None:
            met = figure <= job.limit
        elif peer == ours and job.target is not None and compared is not None:
            met = compared <= job.target
        rate, p50, p99 = (middle(getattr(each, name) for each in samples) for name in ("rate", "p50", "p99"))
        errors = sum(sample.errors for sample in samples)
        found.append(Row(job, peer, figure, compared, rate, p50, p99, errors, met))
    return found


def number(value: float) -> str:
    """
    Three digits that matter, and no exponent: C{0.123}, C{12.3}, C{12,345}.
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2}f}"


def duration(seconds: float | None) -> str:
    """
    C{85 µs}, C{1.20 ms}, C{2.50 s}.
    """
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def cells(row: Row) -> list[str]:
    """
    A row as text.
    """
    job = row.job
    target = ""
    if row.met is not None:
        bound = f"{job.limit:g} {job.unit}" if job.limit is not None else f"{job.target:g}"
        target = f"{'yes' if row.met else 'no'}: ≤ {bound}"
    return [
        job.title,
        row.peer,
        f"{number(row.figure)} {job.unit}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if row.rate is None else f"{number(row.rate)} {job.per_second}/s",
        duration(row.p50),
        duration(row.p99),
        str(row.errors),
        target,
    ]


def table(lines: Sequence[Row]) -> str:
    """
    One table of all, in Markdown, with columns that line up when it is read as it is.
    """
    head = ["job", "server", "costs", "x nginx", "does", "p50", "p99", "errors", "target met"]
    text = [head, *(cells(line) for line in lines)]
    return aligned(text, left=(0, 1, 8))


def aligned(text: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """
    A Markdown table.

    :param text: its lines, the first of which is the head.
    :param left: the columns that hold words; the others are numbers, and stand to the right.
    """
    widths = [max(len(line[column]) for line in text) for column in range(len(text[0]))]

    def line(each: Sequence[str]) -> str:
        parts = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(each, widths, strict=True))
        )
        return f"| {' | '.join(parts)} |".rstrip()

    rule = "|".join(
        "-" * (width + 2) if column in left else "-" * (width + 1) + ":" for column, width in enumerate(widths)
    )
    return "\n".join([line(text[0]), f"|{rule}|", *map(line, text[1:])]) + "\n"


def matrix(lines: Sequence[Row]) -> str:
    """
    The ratios alone, in Markdown: jobs down, servers across.  C{-}: it cannot do that, or was left out.
    """
    peers = list(dict.fromkeys(line.peer for line in lines))
    ratios = {(line.job.title, line.peer): line.ratio for line in lines}
    head = ["x nginx", *peers]
    text = [head]
    for title in dict.fromkeys(line.job.title for line in lines):
        found = (ratios.get((title, peer)) for peer in peers)
        text.append([title, *("-" if each is None else number(each) for each in found)])
    return aligned(text, left=(0,))


def markdown(lines: Sequence[Row], notes: Sequence[str], remarks: Sequence[str], about: Mapping[str, str]) -> str:
    """
    The whole page.

    :param notes: who was left out, and why.
    :param remarks: what one should know of those who were not.
    :param about: machine and versions, by what they are called.
    """
    parts = ["# The comparison\n", "\n".join(f"- {name}: {value}" for name, value in about.items()) + "\n"]
    parts.append(
        "Medians of the rounds.  *costs* is CPU time of all processes of the server, unless the unit says otherwise; "
        "*x nginx* is the median of the ratios within each round.\n"
    )
    parts += [table(lines), matrix(lines)]
    for title, said in (("Left out", notes), ("To be noted", remarks)):
        if said:
            parts.append(f"{title}:\n\n" + "\n".join(f"- {each}" for each in said) + "\n")
    return "\n".join(parts)


def as_json(outcomes: Sequence[Outcome], lines: Sequence[Row], about: Mapping[str, str]) -> str:
    """
    The same for programs, with the measurements of every round.  Times are in seconds.
    """
    samples = {(outcome.job.name, peer): each for outcome in outcomes for peer, each in outcome.samples.items()}
    found: list[dict[str, Any]] = [
        {
            "job": row.job.name,
            "server": row.peer,
            "figure": row.figure,
            "unit": row.job.unit,
            "ratio": row.ratio,
            "rate": row.rate,
            "per_second": row.job.per_second,
            "p50": row.p50,
            "p99": row.p99,
            "errors": row.errors,
            "target_met": row.met,
            "rounds": [
                {name: getattr(sample, name) for name in ("figure", "ratio", "rate", "p50", "p99", "errors")}
                for sample in samples[row.job.name, row.peer]
            ],
        }
        for row in lines
    ]
    page = {
        "about": dict(about),
        "rows": found,
        "left_out": {outcome.job.name: outcome.notes for outcome in outcomes if outcome.notes},
        "remarks": {outcome.job.name: outcome.remarks for outcome in outcomes if outcome.remarks},
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"
