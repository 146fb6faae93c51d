"""``python -m harness.workloads.policy OUT``: make the small policy again, in minutes."""

from __future__ import annotations

import sys

from harness.workloads.policy.command import parsed, show
from harness.workloads.policy.rebuild import rebuild
from harness.workloads.policy.recipe import RECIPE


def main(arguments: list[str]) -> int:
    """Rebuild the policy and print what it can do."""
    asked = parsed(arguments, "python -m harness.workloads.policy", __doc__)
    card = rebuild(asked.out, RECIPE.shortened(asked.share), show)
    for policy, skills in card.skill.items():
        for skill in skills:
            print(policy, skill)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
