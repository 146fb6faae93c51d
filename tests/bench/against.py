"""Two commits of the harness, measured in turn: which figure changed, and by how much.

Each commit is a tree of its own, with its own generated projects. A round measures every figure of
both, the earlier commit first in one round and second in the next, so that both meet the same
machine. The ratio of a round has the noise of that round only; the figure's change is the mean of
their logarithms, with Student's interval at the level of all figures together (Bonferroni).
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.errors import HostError
from harness.records import record
from harness.statistics import ALPHA, Interval, sample, t_quantile
from tests.bench.cost import ROOT

# runs in each tree, and measures there what it is told the name of: a method of that tree's class
_METER = """
import sys
from pathlib import Path
from tests.bench.ours import Harness
ours = Harness(Path(sys.argv[1]))
for name in sys.stdin:
    print(getattr(ours, name.strip())(), flush=True)
"""


@record
class Change:
    """One figure of two commits.

    Attributes:
        name: the method of `tests.bench.ours.Harness` that measured it.
        before_s: each round's measurement at the earlier commit, seconds.
        after_s: those of the present tree, in the same order.
        num_figures: how many figures are looked at together.
    """

    name: str
    before_s: tuple[float, ...]
    after_s: tuple[float, ...]
    num_figures: int = 1

    @property
    def ratio(self) -> float:
        """After over before: the geometric mean over the rounds."""
        return math.exp(self._logarithms.mean)

    @property
    def interval(self) -> Interval:
        """Where the ratio lies, at the level of all figures together."""
        logs = self._logarithms
        quantile = t_quantile(1 - ALPHA / (2 * self.num_figures), logs.count - 1)
        reach = quantile * logs.standard_error
        return Interval(low=math.exp(logs.mean - reach), high=math.exp(logs.mean + reach))

    @property
    def verdict(self) -> str:
        """``slower``, ``faster``, or nothing where the interval holds no change."""
        if self.interval.low > 1:
            return "slower"
        return "faster" if self.interval.high < 1 else ""

    @property
    def _logarithms(self) -> Any:
        pairs = zip(self.before_s, self.after_s, strict=True)
        return sample([math.log(after / before) for before, after in pairs])


def changes(revision: str, names: Sequence[str], rounds: int, scratch: Path) -> list[Change]:
    """Measure the figures `names` of a commit and of the present tree.

    Args:
        revision: as git names it.
        names: methods of `tests.bench.ours.Harness`.
        rounds: at least two; one more warms up.
        scratch: an empty folder.

    Raises:
        HostError: there is no such commit, or it does not measure one of the figures.
    """
    earlier = scratch / "earlier"
    archive = subprocess.run(
        ("git", "archive", "--format=tar", revision),  # noqa: S607 - the user's git
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    if archive.returncode:
        message = f"git archive {revision}: {archive.stderr.decode().strip()}"
        raise HostError(message, "git log")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(earlier, filter="data")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        meters = {
            tree: stack.enter_context(_meter(tree, scratch / f"projects-{number}"))
            for number, tree in enumerate((earlier, ROOT))
        }
        for number in range(rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            order = [earlier, ROOT] if number % 2 else [ROOT, earlier]
            for name in names:
                spent = {tree: _ask(meters[tree], name, tree) for tree in order}
                taken[name].append((spent[earlier], spent[ROOT]))
    return [
        Change(
            name=name,
            before_s=tuple(before for before, _ in pairs[1:]),
            after_s=tuple(after for _, after in pairs[1:]),
            num_figures=len(names),
        )
        for name, pairs in taken.items()
    ]


@contextmanager
def _meter(tree: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    meter = subprocess.Popen(
        [sys.executable, "-c", _METER, str(folder)],
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with meter:
        try:
            yield meter
        finally:
            meter.kill()


def _ask(meter: subprocess.Popen[str], name: str, tree: Path) -> float:
    assert meter.stdin is not None
    assert meter.stdout is not None
    try:
        print(name, file=meter.stdin, flush=True)
        answer = meter.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        message = f"{tree} does not measure {name}; what it said is above"
        raise HostError(message)
    return float(answer)


def table(revision: str, found: Sequence[Change]) -> str:
    """Return the table for a terminal."""
    rows = [
        (
            each.name,
            *(f"{1000 * sample(taken).mean:.1f}" for taken in (each.before_s, each.after_s)),
            f"{each.ratio:.3f}",
            f"{each.interval.low:.3f} .. {each.interval.high:.3f}",
            each.verdict or "no change seen",
        )
        for each in found
    ]
    headers = ("figure", f"{revision}, ms", "now, ms", "ratio", "interval", "verdict")
    return tabulate(rows, headers=headers, disable_numparse=True)


def document(revision: str, found: Sequence[Change]) -> Mapping[str, Any]:
    """Return the same with every measurement."""
    return {
        "against": revision,
        "rows": [
            {
                "name": each.name,
                "ratio": round(each.ratio, 4),
                "interval": [round(each.interval.low, 4), round(each.interval.high, 4)],
                "verdict": each.verdict,
                "before_s": [round(one, 6) for one in each.before_s],
                "after_s": [round(one, 6) for one in each.after_s],
            }
            for each in found
        ],
    }
