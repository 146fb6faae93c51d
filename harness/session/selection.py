"""What a command's words name: scenarios, their ledgers, a profile, and changes to it."""

from __future__ import annotations

from harness.check.laws import law_problems
from harness.errors import HostError, InputError, unknown
from harness.plan.overrides import Overrides, read_overrides
from harness.records import Profile
from harness.results.store import RunStore, said_of
from harness.runtime.host import Host, default_profile
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded, load_expectations
from harness.scenario.schema import Scenario
from harness.session.options import ExperimentOptions, PlanOptions

# a machine that can run one of these can run those after it
_FALLBACKS = (Profile.SPARK, Profile.CUDA, Profile.CPU, Profile.EVIDENCE)


def open_ledger(loaded: Loaded) -> Expectations:
    """Load the ledger of a scenario, its laws checked too."""
    return load_expectations(loaded, law_problems)


def profile_to_run(word: str, scenario: Scenario, host: Host) -> Profile:
    """Return the profile that `word` names; ``auto`` is the most this machine can run.

    Raises:
        InputError: no such profile; names the nearest of the scenario's own.
        HostError: this machine can run none of them.
    """
    if word != "auto":
        return declared_profile(word, scenario)
    able = _FALLBACKS[_FALLBACKS.index(default_profile(host)) :]
    for profile in able:
        if profile in scenario.profiles:
            return profile
    first = next(iter(scenario.profiles))
    message = f"this machine can run no profile of {scenario.scenario}"
    raise HostError(message, f"harness show {scenario.scenario} --profile {first}")


def stored_profile(word: str, scenario: Scenario, store: RunStore) -> Profile:
    """Return the profile that `word` names; ``auto`` is the first with stored results.

    Raises:
        InputError: the scenario has no such profile.
        HostError: the store has no results of the scenario.
    """
    if word != "auto":
        return declared_profile(word, scenario)
    stored = store.profiles(scenario.scenario)
    if not stored:
        message = f"no results of {scenario.scenario} in {store.root}"
        if schemas := store.other_schemas(scenario.scenario):
            message = (
                f"the results of {scenario.scenario} in {store.root} are from {said_of(schemas)}"
            )
        raise HostError(message, f"harness run {scenario.scenario}")
    return stored[0]


def declared_profile(word: str, scenario: Scenario) -> Profile:
    """Return the profile of that name.

    Raises:
        InputError: the scenario does not have it; names the nearest.
    """
    known = [profile.value for profile in scenario.profiles]
    if word not in known:
        raise InputError([unknown("profile", word, ["auto", *known])])
    return Profile(word)


def overrides_of(options: ExperimentOptions) -> Overrides:
    """Return what the options change of the declared experiment."""
    return read_overrides(
        options.set,
        options.params,
        options.only,
        seed=options.seed,
        replicates=options.replicates,
        timeout=options.timeout if isinstance(options, PlanOptions) else None,
    )
