"""The stylesheet: what it says about colours is computed here, and it loads nothing from anywhere."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "static" / "ostiary.css").read_text()

TEXT, CONTROL = 4.5, 3.0  # WCAG 2.2 §1.4.3 and §1.4.11
PAIRS = [
    ("ink", "ground", TEXT),
    ("ink", "card", TEXT),
    ("ink", "tint", TEXT),
    ("quiet", "ground", TEXT),
    ("quiet", "card", TEXT),
    ("accent", "card", TEXT),
    ("accent", "tint", TEXT),
    ("accent-strong", "card", TEXT),
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-strong", TEXT),
    ("wrong", "card", TEXT),
    ("wrong", "wrong-tint", TEXT),
    ("edge", "card", CONTROL),
    ("edge", "tint", CONTROL),
    ("accent", "ground", CONTROL),  # the ring of what has the focus
]


def palettes():
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    return {"light": colours(light), "dark": colours(dark)}


def colours(block):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_contrast(scheme, front, back, least):
    palette = palettes()[scheme]
    assert contrast(palette[front], palette[back]) >= least


def test_both_schemes_define_the_same_colours():
    light, dark = palettes().values()
    assert set(light) == set(dark)


def test_nothing_is_loaded():
    assert "url(" not in CSS
    assert "@import" not in CSS
