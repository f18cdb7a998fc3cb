import numpy as np
import pytest

from protemb.errors import InputError
from protemb.variants.reading import TableSource


@pytest.fixture
def write(tmp_path):
    """Write a table and return the source that reads it."""

    def write_table(text, name="t.csv", **options):
        path = tmp_path / name
        path.write_text(text)
        return TableSource(path=str(path), **({"value": "ddG", "sequence": "sequence"} | options))

    return write_table


TWICE = """protein,mutation,ddG,sequence,struc,pH,w
P,M1A:L3C,1,MKLV,H,7,1
Q,A1C,5,AC,E,,4
P,L3C/M1A,4,MKLV,E,,2
P,A:M1A:L3C,10,MKLV,H,5,1
Q,A1C,5,AC,E,,4
Q,A1D,6,AC,E,,4
"""


def test_duplicates_are_settled(write):
    options = {
        "covariates": {"struc": {"kind": "categorical"}, "pH": {"kind": "numeric"}},
        "weight": "w",
    }
    mean = write(TWICE, duplicates="mean", **options).load()
    assert list(map(str, mean.mutations)) == ["M1A:L3C", "A1C", "A1D"]
    expected = np.average([1, 4, 10], weights=[1, 2, 1])
    assert mean.values_N.tolist() == [expected, 5, 6] and mean.weights_N.tolist() == [4, 8, 4]
    assert mean.covariates["struc"].tolist() == ["H", "E", "E"]
    assert mean.covariates["pH"][0] == np.average([7, 5], weights=[1, 1])
    assert np.isnan(mean.covariates["pH"][1:]).all()
    facts = mean.report["duplicates"]
    assert (facts["variants"], facts["rows"], facts["differing_categories"]) == (2, 5, 1)
    assert facts["examples"][0] == "t.csv:2 P M1A:L3C: 3 rows"

    unweighted = write(TWICE, duplicates="mean").load()
    assert unweighted.values_N.tolist() == [5, 5, 6] and unweighted.weights_N.tolist() == [1, 1, 1]
    first = write(TWICE, duplicates="first", **options).load()
    assert first.values_N.tolist() == [1, 5, 6] and first.weights_N.tolist() == [1, 4, 4]
    kept = write(TWICE, duplicates="keep").load()
    assert len(kept) == 6 and kept.report["duplicates"]["rows"] == 5
    with pytest.raises(InputError, match=r"t.csv:4: .*the same variant as in .*t.csv:2"):
        write(TWICE).load()


def test_duplicates_that_contradict_each_other(write):
    text = "protein,mutation,kind,fam,sequence\nP,M1A,{},f,MK\nP,K2A,b,f,MK\nP,M1A,b,{},MK\n"
    options = {"value": None, "label": "kind", "duplicates": "mean", "group": "fam"}
    table = write(text.format("b", "f"), **options).load()
    assert table.labels_N.tolist() == [0, 0]
    with pytest.raises(InputError, match=r"t.csv:4: .*label is 'b', but 'a' in .*t.csv:2"):
        write(text.format("a", "f"), **options).load()
    with pytest.raises(InputError, match=r"t.csv:4: .*group is 'g', but 'f' in .*t.csv:2"):
        write(text.format("b", "g"), **options).load()
    first = write(text.format("a", "g"), **(options | {"duplicates": "first"})).load()
    assert first.labels_N.tolist() == [0, 1] and first.groups_N.tolist() == ["f", "f"]
