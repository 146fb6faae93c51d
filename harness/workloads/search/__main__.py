"""``python -m harness.workloads.search OUT``: make the policy that searches again, in minutes."""

from __future__ import annotations

import sys

from harness.workloads.policy.command import parsed, show
from harness.workloads.search.rebuild import rebuild
from harness.workloads.search.recipe import RECIPE


def main(arguments: list[str]) -> int:
    """Rebuild the policy and print what it can do."""
    asked = parsed(arguments, "python -m harness.workloads.search", __doc__)
    card = rebuild(asked.out, RECIPE.shortened(asked.share), show)
    for policy, skills in card.skill.items():
        for temperature, skill in skills.items():
            print(policy, f"temperature {temperature}", skill)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
