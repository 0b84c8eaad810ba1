import ast
import csv
import warnings
from collections import defaultdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecgtwin.text.statements import (
    ASSUMED,
    KIND,
    SCP,
    SNOMED,
    STATEMENTS,
    SYNONYM,
    Assumption,
    Vocabulary,
    from_scp,
    from_snomed,
    key,
    ordered,
)

PTBXL = Vocabulary()
ALL = Vocabulary(tuple(s.name for s in STATEMENTS))


def quietly(vocabulary, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Assumption)
        return vocabulary.normalise(text)


def test_the_71_codes_of_ptbxl_have_one_statement_each():
    assert len(SCP) == len(set(SCP.values())) == len(PTBXL) == 71


def test_no_spelling_leads_to_two_statements():
    leads_to = defaultdict(set)
    for statement in STATEMENTS:
        for text in (statement.name, statement.scp or statement.name, *statement.synonyms):
            leads_to[key(text)].add(statement.name)
    assert {text: names for text, names in leads_to.items() if len(names) > 1} == {}


def test_table_is_sorted_by_kind_and_code():
    kinds = list(dict.fromkeys(s.kind for s in STATEMENTS))
    assert kinds == [
        "rhythm",
        "ectopy",
        "conduction",
        "infarction",
        "ischemia",
        "hypertrophy",
        "QRS",
        "ST-T",
        "summary",
    ]
    places = [(kinds.index(s.kind), s.scp is None, s.scp or s.name.lower()) for s in STATEMENTS]
    assert places == sorted(places)


def test_sides_and_places_never_meet():
    """No synonym of a statement names another side or territory than the statement does."""
    for pair in (("left", "right"), ("complete", "incomplete"), ("high", "low"), ("inferior", "lateral")):
        for s in STATEMENTS:
            for text in s.synonyms:
                said = {w for w in pair if w in text.lower().split()}
                meant = {w for w in pair if w in s.name.lower().split()}
                assert not (said and meant and said != meant), (s.name, text)


def test_descriptions_of_ptbxl_are_synonyms(ptbxl):
    with (ptbxl / "scp_statements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 71
    for row in rows:
        assert PTBXL.normalise(row["description"]) == SCP[row[""]]
        assert KIND[SCP[row[""]]] in KIND.values()


def test_english_texts_of_the_real_records_are_known(ptbxl):
    with (ptbxl / "provenance.csv").open() as file:
        texts = {text for row in csv.DictReader(file) for text in row["scp_text_en"].split("; ")}
    assert len(texts) > 60
    assert {PTBXL.normalise(text) for text in texts} <= set(PTBXL)


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("AF", "atrial fibrillation"),
        ("afib", "atrial fibrillation"),
        ("A-Fib", "atrial fibrillation"),
        (" ATRIAL   Fibrillation. ", "atrial fibrillation"),
        ("Atrial_fibrillation", "atrial fibrillation"),
        ("LBBB", "complete left bundle branch block"),
        ("left bundle-branch block", "complete left bundle branch block"),
        ("rbbb", "complete right bundle branch block"),
        ("incomplete RBBB", "incomplete right bundle branch block"),
        ("PVC", "ventricular premature complex"),
        ("PVCs", "ventricular premature complex"),
        ("Premature ventricular contractions", "ventricular premature complex"),
        ("1st degree AV block", "first degree AV block"),
        ("first-degree A-V block", "first degree AV block"),
        ("AV block I", "first degree AV block"),
        ("1° AV block", "first degree AV block"),
        ("complete heart block", "third degree AV block"),
        ("WPW", "Wolff-Parkinson-White syndrome"),
        ("paced", "paced rhythm"),
        ("NSR", "sinus rhythm"),
        ("sinus tach", "sinus tachycardia"),
        ("LVH", "left ventricular hypertrophy"),
        ("normal", "normal ECG"),
        ("normal EKG", "normal ECG"),
        ("inferior MI", "inferior myocardial infarction"),
        ("inferior infarct", "inferior myocardial infarction"),
        ("inferior ischaemia", "ischemic ST-T changes in inferior leads"),
        ("myocardial ischaemia", "non-specific ischemic ST-T changes"),
        ("nonspecific ST changes", "non-specific ST changes"),
        ("T-wave inversion", "inverted T waves"),
        ("long QTc", "long QT interval"),
        ("SVT", "supraventricular tachycardia"),
    ],
)
def test_what_clinicians_type(text, statement):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Assumption)
        assert PTBXL.normalise(text) == statement


@pytest.mark.parametrize(
    ("text", "statement", "why"),
    [
        ("heart attack", "inferior myocardial infarction", "site"),
        ("MI", "inferior myocardial infarction", "site"),
        ("STEMI", "inferior myocardial infarction", "site"),
        ("acute MI", "inferior myocardial infarction", "site"),
        ("tachycardia", "sinus tachycardia", "origin"),
        ("AMI", "anterior myocardial infarction", "SCP code"),
        ("old anterior MI", "anterior myocardial infarction", "how old"),
        ("Anterior STEMI", "anterior myocardial infarction", "how old"),
        ("lateral infarct - age undetermined", "lateral myocardial infarction", "how old"),
    ],
)
def test_what_is_left_open_is_chosen_aloud(text, statement, why):
    with pytest.warns(Assumption, match=why):
        assert PTBXL.normalise(text) == statement
    assert why in PTBXL.read(text).assumed


def test_a_wider_vocabulary_needs_no_assumption():
    with warnings.catch_warnings():
        warnings.simplefilter("error", Assumption)
        assert ALL.normalise("heart attack") == "myocardial infarction"
        assert ALL.normalise("left axis deviation") == "left axis deviation"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("atrial fibrilation", "atrial fibrillation"),
        ("left bundel branch block", "complete left bundle branch block"),
        ("rihgt bundle branch block", "complete right bundle branch block"),
        ("AV block", "first degree AV block"),
        ("hypertrophy", "left ventricular hypertrophy"),
        ("sinus rythm", "sinus rhythm"),
    ],
)
def test_misspellings_are_errors_that_name_the_nearest(text, nearest):
    with pytest.raises(ValueError, match="ecgtwin statements") as error:
        PTBXL.normalise(text)
    assert nearest in str(error.value) and repr(text) in str(error.value)
    assert nearest in PTBXL.nearest(text, 2)


@pytest.mark.parametrize(
    "text", ["no atrial fibrillation", "not normal", "without LBBB", "AF 房颤", "房颤", "xyz", "-", "NSTEMI"]
)
def test_what_means_something_else_is_not_guessed(text):
    with pytest.raises(ValueError, match="unknown statement"):
        PTBXL.normalise(text)


def test_empty_statement():
    with pytest.raises(ValueError, match="empty statement"):
        PTBXL.normalise("  ")


def test_a_known_word_outside_the_models_vocabulary_says_so():
    with pytest.raises(ValueError, match="this model does not know 'left axis deviation' \\('LAD'\\)"):
        PTBXL.normalise("LAD")
    with pytest.raises(ValueError, match="does not know 'atrial fibrillation'"):
        Vocabulary(("sinus rhythm", "normal ECG")).normalise("atrial fibrillation")


def test_own_statements_and_twice():
    own = Vocabulary(("T negativ in V2", "sinus rhythm"))
    assert own.normalise("t negativ  in v2") == "T negativ in V2"
    assert own.nearest("T negativ in V3", 1) == ("T negativ in V2",)
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(("sinus rhythm", "sinus rhythm"))


def test_split():
    assert PTBXL.split("AF | LBBB||atrial fibrillation") == ("atrial fibrillation", "complete left bundle branch block")
    assert PTBXL.split("") == ()
    with pytest.raises(ValueError, match="nonsense"):
        PTBXL.split("AF|nonsense")


def test_from_scp_has_one_order():
    expected = ("atrial fibrillation", "complete left bundle branch block", "low QRS voltage", "normal ECG")
    assert from_scp({"NORM": 0.0, "CLBBB": 100.0, "LVOLT": 0.0, "AFIB": 0.0}) == expected
    assert from_scp(["LVOLT", "AFIB", "NORM", "CLBBB", "AFIB"]) == expected
    assert from_scp([]) == ()
    with pytest.raises(ValueError, match="'ABC'.*71 of PTB-XL"):
        from_scp(["NORM", "ABC"])


def test_real_codes_are_known(ptbxl):
    with (ptbxl / "ptbxl_database.csv").open() as file:
        for row in csv.DictReader(file):
            codes = ast.literal_eval(row["scp_codes"])
            assert len(from_scp(codes)) == len(codes)


SCORED = (
    "164889003 164890007 6374002 426627000 733534002 713427006 270492004 713426002 39732003 445118002 164909002 "
    "251146004 698252002 426783006 284470004 10370003 365413008 427172004 164947007 111975006 164917005 47665007 "
    "59118001 427393009 426177001 427084000 63593006 164934002 59931005 17338001"
).split()


def test_all_scored_snomed_codes_of_the_challenge_are_known():
    assert len(SCORED) == 30 and set(SCORED) <= set(SNOMED)


def test_from_snomed():
    assert from_snomed(["426783006", 164889003]) == ("atrial fibrillation", "sinus rhythm")
    assert from_snomed(["164909002", "733534002"]) == ("complete left bundle branch block",)
    assert from_snomed(["59118001"]) == ("complete right bundle branch block",)
    assert from_snomed([11157007]) == ("bigeminy", "ventricular premature complex")
    assert from_snomed(["84114007", "1"]) == ()  # heart failure; no code at all
    assert PTBXL.keep(from_snomed(["39732003", "426783006"])) == ("sinus rhythm",)


def test_real_challenge_headers(shared_data):
    headers = sorted((shared_data / "challenge2021").glob("*.hea"))
    codes = {
        code.strip()
        for header in headers
        for line in header.read_text().splitlines()
        if "Dx:" in line
        for code in line.split(":")[1].split(",")
    }
    assert codes and codes <= set(SNOMED)


def test_assumptions_lead_into_the_vocabulary():
    assert {statement for statement, _ in ASSUMED.values()} <= set(PTBXL)
    for text in ASSUMED:
        assert quietly(PTBXL, text) == ASSUMED[text][0]


@settings(deadline=None)
@given(st.text())
@example("\x00|\ud7ff")
@example("ﬁbrillation")
def test_random_text_is_a_value_error_or_a_statement(text):
    for vocabulary in (PTBXL, ALL):
        try:
            assert quietly(vocabulary, text) in vocabulary
        except ValueError as error:
            assert str(error)


@settings(deadline=None)
@given(
    st.sampled_from([text for s in STATEMENTS for text in (s.name, *s.synonyms)]),
    st.lists(st.sampled_from([" ", "-", "_", ".", "  ", ""]), min_size=12, max_size=12),
    st.booleans(),
)
def test_case_spaces_and_punctuation_do_not_matter(text, gaps, upper):
    """Any known text, its spaces replaced and its case changed, reads as before; reading the answer changes nothing."""
    expected = SYNONYM[key(text)]
    parts = text.split(" ")
    changed = parts[0] + "".join((gap or " ") + part for gap, part in zip(gaps * 9, parts[1:], strict=False))
    changed = changed.upper() if upper else changed.lower()
    assert ALL.normalise(f" {changed}.") == expected
    assert ALL.normalise(ALL.normalise(changed)) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(SCP)), max_size=8))
def test_order_does_not_depend_on_the_order_given(codes):
    assert from_scp(codes) == from_scp(codes[::-1]) == ordered(from_scp(codes))
    assert len(from_scp(codes)) == len(set(codes))
