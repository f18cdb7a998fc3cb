import pytest

from protemb.errors import ConfigError
from protemb.sequences.labels import Rule, as_rule, read_synonyms

UNIPROT = "sp|P1|HA_1 Hemagglutinin OS=Homo sapiens OX=9606 GN=HA PE=1 SV=2"


@pytest.mark.parametrize(
    ("rule", "header", "value"),
    [
        (Rule(field=4), "AB1|A/duck/1|H7N7|avian|Anas", "avian"),
        (Rule(field=2), "AB1| A/duck/Hong Kong/1 |H7N7", "A/duck/Hong Kong/1"),
        (Rule(field=5), "AB1|A/duck/1|H7N7|avian", None),
        (Rule(field=2), "AB1||H7N7", ""),
        (Rule(field=1), "whole header", "whole header"),
        (Rule(field=2, delimiter=" "), "d1 \t a.1.1.1  (A:)", "a.1.1.1"),
        (Rule(field=2, delimiter="::"), "a::b::c", "b"),
        (Rule(key="OS"), UNIPROT, "Homo sapiens"),
        (Rule(key="SV"), UNIPROT, "2"),
        (Rule(key="S"), UNIPROT, None),
        (Rule(key="os"), UNIPROT, None),
        (Rule(key="host"), "P1 host=Homo sapiens", "Homo sapiens"),
        (Rule(key="host"), 'P1 host="Homo sapiens, year=2" x=1', "Homo sapiens, year=2"),
        (Rule(key="host"), 'P1 host="" x=1', ""),
        (Rule(key="host"), "P1 host= year=2004", ""),
        (Rule(key="host"), "P1|host=Homo sapiens|H3N2|2004", "Homo sapiens"),
        (Rule(key="host"), "P1|host=Homo sapiens; year=2004", "Homo sapiens"),
        (Rule(key="host"), "P1 [organism=Homo sapiens] [host=Sus scrofa] [x=1]", "Sus scrofa"),
        (Rule(key="host"), "P1 host=Sus scrofa [note=1]", "Sus scrofa"),
        (Rule(key="host"), "host=cat ghost=dog", "cat"),
        (Rule(key="host"), "ghost=dog host=cat", "cat"),
        (Rule(key="a.b"), "axb=1 a.b=2", "2"),
        (Rule(key="TARGET"), "Sequence0 TARGET=Cell_membrane SET=train", "Cell_membrane"),
        (
            Rule(regex=r"^\S+ (?P<label>.+)-[MSU]\b"),
            "Q1 Cytoplasm-Nucleus-U test",
            "Cytoplasm-Nucleus",
        ),
        (Rule(regex=r"(?P<value>\d{4})$"), "A/duck/1/1999", "1999"),
        (Rule(regex=r"(?P<value>b)?a"), "a", None),
        (Rule(regex=r"(?P<value>\d{4})$"), "A/duck/1", None),
    ],
)
def test_header_rules(rule, header, value):
    assert rule.extract(header, wanted="label") == value


def test_one_pattern_serves_several_columns():
    rule = Rule(regex=r"/(?P<group>\w+)/(?P<value>\w+)/(?P<year>\d+)")
    found = {
        name: rule.extract("A/duck/1/1999", wanted=name) for name in ("group", "year", "label")
    }
    assert found == {"group": "duck", "year": "1999", "label": "1"}


def test_column_rules_look_at_the_row():
    assert Rule(column="host").extract("h|cat", {"host": " dog "}) == "dog"
    assert Rule(column="host").extract("h|cat", {}) is None
    assert Rule(column="host").extract("h|cat") is None


def test_a_rule_that_says_nothing_is_not_given():
    assert not Rule().given and not Rule(delimiter=";").given
    assert Rule(field=1).given and Rule(key="k").given and Rule(column="c").given


def test_rules_as_written_in_a_config():
    assert as_rule("label", {"field": 4, "delimiter": ","}) == Rule(field=4, delimiter=",")
    assert as_rule("group", None) == as_rule("group", {}) == Rule()
    with pytest.raises(ConfigError, match="^label: got {'filed': 4}, expected a rule: column, "):
        as_rule("label", {"filed": 4})
    with pytest.raises(ConfigError, match="^label: rule.field: got 0, expected a whole number"):
        as_rule("label", {"field": 0})
    with pytest.raises(ConfigError, match="^label: got 4, expected a rule"):
        as_rule("label", 4)


def test_synonyms_map_every_name_to_its_label(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("human: [Homo sapiens, ' man ']\nNO: [no, 1]\nswine:\n- Sus scrofa\n")
    assert read_synonyms(path) == {
        "human": "human",
        "Homo sapiens": "human",
        "man": "human",
        "NO": "NO",
        "no": "NO",
        "1": "NO",
        "swine": "swine",
        "Sus scrofa": "swine",
    }
