from __future__ import annotations

import pytest

from harness.records import VerdictKind
from harness.report.ledger import brief_table, ledger_table, summary

from .conftest import MakeDossier, entry, verdict


def test_every_entry_is_in_exactly_one_group(make_dossier: MakeDossier) -> None:
    verdicts = [
        verdict("fine"),
        verdict("elsewhere", VerdictKind.OTHER_PROFILE),
        verdict("wrong", claim=VerdictKind.ARTICLE_DIFFERS, claim_detail="claimed 1, derived 2"),
        verdict("wrong.elsewhere", VerdictKind.OTHER_PROFILE, claim=VerdictKind.OUTSIDE),
        verdict("agreed", claim=VerdictKind.REPRODUCED),
        verdict("shown", VerdictKind.REPORTED),
        verdict("sum", VerdictKind.ARITHMETIC, claim=VerdictKind.REPRODUCED),
        verdict("wrong.sum", VerdictKind.ARITHMETIC, claim=VerdictKind.ARTICLE_DIFFERS),
    ]
    entries = [entry(each.expectation) for each in verdicts]
    table = ledger_table(make_dossier([], entries=entries, verdicts=verdicts))
    ids = {group.title.split(":")[0]: [row[0].text for row in group.rows] for group in table.groups}
    assert ids == {
        "Article errors": ["wrong", "wrong.elsewhere", "wrong.sum"],
        "Compared": ["fine", "agreed"],
        "Checked only in other profiles or on other devices": ["elsewhere"],
        "Arithmetic on the article's own numbers": ["sum"],
        "Reported": ["shown"],
    }
    detail = [each.key for each in table.columns].index("detail")
    assert table.groups[0].rows[0][detail].text == "claimed 1, derived 2"


def test_what_is_only_reported_is_in_the_short_table_too(make_dossier: MakeDossier) -> None:
    shown = verdict("shown", VerdictKind.REPORTED, measured="3 s")
    table = brief_table(make_dossier([], entries=[entry("shown")], verdicts=[shown]))
    (group,) = table.groups
    assert group.title == "Reported: shown, not counted"
    assert [box.text for box in group.rows[0]][-2:] == ["3 s", "REPORTED"]


def test_arithmetic_is_counted_in_the_short_table(make_dossier: MakeDossier) -> None:
    verdicts = [verdict(name, VerdictKind.ARITHMETIC) for name in "ab"]
    table = brief_table(make_dossier([], entries=[entry("a"), entry("b")], verdicts=verdicts))
    assert not table.groups
    assert table.caption == ("Arithmetic on the article's own numbers, not shown: 2.",)


def test_the_short_table_counts_what_other_profiles_check(make_dossier: MakeDossier) -> None:
    binds = {
        "a": {"profile": ["evidence"]},
        "b": {"profile": ["evidence"]},
        "c": {"profile": ["spark", "cuda"]},
        "d": {"device": "NVIDIA GB10"},
    }
    entries = [entry(name, binds=each) for name, each in binds.items()]
    verdicts = [verdict(name, VerdictKind.OTHER_PROFILE) for name in binds]
    (caption,) = brief_table(make_dossier([], entries=entries, verdicts=verdicts)).caption
    assert caption == (
        "4 claims are checked only in other profiles (2 evidence, 1 spark or cuda, "
        "1 on NVIDIA GB10); harness check shows them."
    )


def test_figures_as_claimed_recorded_and_derived(make_dossier: MakeDossier) -> None:
    entries = [entry("a", claimed={"value": 4.6, "quantum": 0.01}, recorded=4.6123, derived=5)]
    table = ledger_table(make_dossier([], entries=entries, verdicts=[verdict("a")]))
    shown = {column.key: box for column, box in zip(table.columns, table.rows[0], strict=True)}
    assert [shown[key].text for key in ("claimed", "recorded", "derived")] == [
        "4.60",
        "4.6123",
        "5",
    ]
    assert shown["claimed"].raw == 4.6
    assert shown["verdict"].verdict is VerdictKind.REPRODUCED


@pytest.mark.parametrize(
    "verdicts",
    [[verdict("a")], [verdict("a"), verdict("b"), verdict("c")], [verdict("a"), verdict("a")]],
    ids=["too few", "too many", "twice"],
)
def test_entries_and_verdicts_are_one_to_one(
    make_dossier: MakeDossier, verdicts: list[object]
) -> None:
    dossier = make_dossier([], entries=[entry("a"), entry("b")], verdicts=verdicts)
    with pytest.raises(ValueError, match="not one to one"):
        ledger_table(dossier)


def test_the_counts_add_up() -> None:
    verdicts = [verdict(str(i), kind) for i, kind in enumerate([*VerdictKind, *VerdictKind])]
    counted = summary([*verdicts, verdict("x", claim=VerdictKind.OUTSIDE)])
    assert sum(counted.kinds.values()) == counted.total == 23
    assert str(counted).startswith("23 entries: 3 REPRODUCED, 2 OUTSIDE, ")
    assert ", 2 REPORTED (shown, not counted), 2 ARITHMETIC" in str(counted)
    assert str(counted).endswith("; 1 printed claim differs")
    assert str(summary([])) == "0 entries"
