"""Parts that figures share: a legend that fits, and an interval with and without limits."""

import pytest
from matplotlib.lines import Line2D

from traitsteer.world.figures.plot_parts import draw_interval, legend_above
from traitsteer.world.figures.plot_style import WIDTH, new_figure, style

INTERVAL = {"value": 3.0, "lower": 1.0, "upper": 4.0}


@pytest.mark.parametrize("count", [1, 5, 9, 16])
@pytest.mark.parametrize("loc", ["outside upper left", "outside upper right"])
def test_a_legend_of_any_length_stays_on_the_figure(count: int, loc: str) -> None:
    with style():
        figure = new_figure(WIDTH, 3.0)
        figure.subplots()
        names = [f"{'arm' * (1 + n % 3)} number {n}, mean difference" for n in range(count)]
        legend_above(figure, [Line2D([], [], label=name) for name in names], loc)
        figure.draw_without_rendering()
        [legend] = figure.legends
        box = legend.get_window_extent()
    assert [text.get_text() for text in legend.get_texts()] == names
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_a_legend_of_nothing_is_none() -> None:
    figure = new_figure(WIDTH, 3.0)
    legend_above(figure, [])
    assert figure.legends == []


@pytest.mark.parametrize("across", [True, False])
def test_an_interval_without_limits_is_a_point(across: bool) -> None:
    axes = new_figure(3.0, 3.0).subplots()
    draw_interval(axes, INTERVAL | {"upper": None}, 7.0, "black", across=across)
    [point] = axes.lines
    assert point.get_xydata().tolist() == [[3.0, 7.0] if across else [7.0, 3.0]]
    draw_interval(axes, INTERVAL, 7.0, "black", across=across)
    _, line, _ = axes.lines
    ends = [(1.0, 7.0), (4.0, 7.0)]
    assert [tuple(end) for end in line.get_xydata()] == [
        end if across else end[::-1] for end in ends
    ]
