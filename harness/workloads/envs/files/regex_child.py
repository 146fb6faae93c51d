"""The process that `search` asks; the standard library only, as nothing else is on its path.

Each line of standard input is a question, each line of standard output its answer. It ends when its
input does, and in the middle of a search that takes too long: the kernel ends it, as much of `re`
looks for no signal. So nothing is left of it when whoever asks is killed.
"""

import json
import re
import resource
import signal
import sys
import warnings

MEMORY_BYTES = 1 << 30  # a search that backtracks keeps every place it may go back to


def answer(regex: str, texts: list[str], limit_s: float) -> str:
    """Return the value of a `search.Found`; does not return where the time is over before."""
    # processor time, so that a busy machine changes no grade
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        pattern = re.compile(regex)
        return "yes" if any(pattern.search(text) for text in texts) else "no"
    except MemoryError:
        return "too slow"
    except (re.error, OverflowError, RecursionError):
        return "no pattern"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Answer until nobody asks."""
    warnings.simplefilter("ignore")  # "possible nested set": legal, and not ours
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends this process
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(answer(**question), flush=True)


if __name__ == "__main__":
    main()
