import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.text.phrases import TERRITORY, WHOLE, from_phrase
from ecgtwin.text.statements import KIND, STATEMENTS, ordered


@pytest.mark.parametrize(
    ("line", "statements"),
    [
        ("Sinus rhythm", "sinus rhythm"),
        ("Sinus bradycardia", "sinus bradycardia"),
        ("Atrial fibrillation with rapid ventricular response", "atrial fibrillation"),
        ("Atrial fibrillation with PVC(s)", "atrial fibrillation|ventricular premature complex"),
        ("Sinus rhythm with 1st degree A-V block", "sinus rhythm|first degree AV block"),
        ("Sinus rhythm with PAC(s)", "sinus rhythm|atrial premature complex"),
        ("Possible left atrial enlargement", "left atrial enlargement"),
        (
            "RBBB with left anterior fascicular block",
            "complete right bundle branch block|left anterior fascicular block",
        ),
        ("Left axis deviation", "left axis deviation"),
        ("Inferior infarct - age undetermined", "inferior myocardial infarction"),
        ("Possible anterior infarct - age undetermined", "anterior myocardial infarction"),
        ("*** ACUTE ANTEROSEPTAL INFARCT ***", "anteroseptal myocardial infarction"),
        ("Poor R wave progression - probable normal variant", "poor R wave progression"),
        (
            "Inferior/lateral ST-T changes may be due to myocardial ischemia",
            "ischemic ST-T changes in inferolateral leads",
        ),
        ("Extensive ST-T changes may be due to myocardial ischemia", "non-specific ischemic ST-T changes"),
        ("Lateral ST-T changes are nonspecific", "non-specific ST changes|non-specific T-wave changes"),
        ("Anterior T wave changes are nonspecific", "non-specific T-wave changes"),
        ("Nonspecific ST-T wave changes", "non-specific ST changes|non-specific T-wave changes"),
        ("Inferior ST elevation, CONSIDER ACUTE INFARCT", "non-specific ST elevation"),
        ("Prolonged QT - consider ischemia, electrolyte imbalance, drug effects", "long QT interval"),
        ("Pacemaker rhythm - no further analysis", "paced rhythm"),
        ("Left ventricular hypertrophy by voltage only", "voltage criteria for left ventricular hypertrophy"),
        ("Low QRS voltages in precordial leads", "low QRS voltage"),
        ("IV conduction defect", "non-specific intraventricular conduction disturbance"),
        ("Normal ECG", "normal ECG"),
        ("Abnormal ECG", "abnormal ECG"),
    ],
)
def test_lines_of_machines(line, statements):
    assert from_phrase(line) == tuple(statements.split("|"))


@pytest.mark.parametrize(
    "line",
    [
        "Probable normal variant",
        "rSr'(V1) - probable normal variant",
        "Consider left atrial abnormality",
        "Cannot rule out anterior infarct - age undetermined",
        "no atrial fibrillation",
        "Atrial fibrillation or flutter",
        "Sinus rhythm with something unheard of",
        "ST-T changes have resolved",
        "Lateral ST-T abnormality is age and gender related",
        "Warning: Data quality may affect interpretation",
        "Demand pacemaker; interpretation is based on intrinsic rhythm",
        "",
    ],
)
def test_lines_that_state_no_finding(line):
    assert from_phrase(line) == ()


def test_every_name_that_phrases_use_is_a_statement():
    assert {s for statements in WHOLE.values() for s in statements} <= set(KIND)
    for leads in TERRITORY.values():
        assert {f"ischemic ST-T changes in {place} leads" for place in leads} <= set(KIND)


@pytest.mark.parametrize("statement", [s.name for s in STATEMENTS])
def test_every_statement_reads_as_itself(statement):
    assert from_phrase(statement) == (statement,)


@settings(deadline=None)
@given(st.text())
def test_random_text_never_fails(text):
    assert set(from_phrase(text)) <= set(KIND)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["Sinus rhythm", "with", "and", "-", ",", "LBBB", "no", "changes", "ST-T", "inferior"]))
)
def test_random_lines_never_fail(parts):
    found = from_phrase(" ".join(parts))
    assert found == ordered(found)
