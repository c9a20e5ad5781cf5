"""The cost of repurposing, drawn with characters."""

from reports.formats import curve
from reports.model.pictures import Point
from tests.reports.sample import full
from tests.reports.test_terminal import shown


def test_curve_puts_points_levels_and_intervals_where_they_belong():
    points = [
        Point(labels="0", value=0.5, low=0.25, high=0.75),
        Point(labels="all", value=1.0, low=1.0, high=1.0),
    ]
    lines = [line.plain for line in curve.draw(points, width=60, floor=0.125, target=0.875, plain=True)]
    column = lines[8].index("o")
    assert [row for row, line in enumerate(lines) if line[column : column + 1] == "o"] == [8]
    assert [row for row in range(17) if lines[row].ljust(60)[column] == "|"] == [4, 5, 6, 7, 9, 10, 11, 12]
    assert lines[0].count("o") == 1
    assert lines[2].endswith("= target model 0.875")
    assert lines[14].endswith("- floor 0.125")
    assert lines[8].startswith("   0.50")
    assert lines[-1].split() == ["K", "0", "all"]
    assert "".join(lines).isascii()


def test_curve_labels_never_collide_and_narrow_consoles_get_a_list():
    points = [Point(labels="0", value=0.5, low=0.4, high=0.6)]
    for level in (0.0, 0.5, 1.0):
        text = "\n".join(line.plain for line in curve.draw(points, width=60, floor=level, target=level))
        assert f"target model {level:.3f}" in text
        assert f"floor {level:.3f}" in text
    assert curve.draw(points, width=20) == []
    assert "K    accuracy" in shown(full(), 40)
