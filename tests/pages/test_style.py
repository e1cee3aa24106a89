"""The stylesheet: what it says about colours is computed here, and it loads nothing from anywhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CSS = (PROJECT / "static" / "ostiary.css").read_text()

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
def test_colours_have_enough_contrast(scheme, front, back, least):
    palette = palettes()[scheme]
    assert contrast(palette[front], palette[back]) >= least


def test_both_schemes_define_the_same_colours():
    light, dark = palettes().values()
    assert set(light) == set(dark)


def test_nothing_is_loaded():
    assert "url(" not in CSS
    assert "@import" not in CSS


# ---- one class, one meaning --------------------------------------------------------------------------------

# What every page is built of; the other parts may refine it, below a class of their own.
BUILDING_BLOCKS = {"The page", "Words", "Forms", "Facts and rights"}
PLACES = {  # of the classes of the other parts; no other template or script may use them
    "The demo": {"demo.html", "demo.js"},
    "A list of accounts to choose from": {"accounts.html"},
    "A person's own account": {f"account/{path.name}" for path in (PROJECT / "templates/account").iterdir()},
}
COMMENT = re.compile(r"/\* *(.*?) *\*/", re.DOTALL)
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
USED = re.compile(r"""class(?:Name)?(?:=|: |\s*=\s*)"([^"]*)"|conclude\(step, "(\w+)\"""")


def parts_of(css):
    """The selectors of each part, by the words before the first colon, comma or full stop of its comment;
    none of a @media.
    """
    pieces = COMMENT.split(css)[1:]
    for title, rules in zip(pieces[::2], pieces[1::2], strict=True):
        outside = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", rules)
        groups = re.findall(r"([^{}]+)\{[^{}]*\}", outside)
        yield (
            re.split(r"[:,.\n]", title)[0],
            [selector.strip() for group in groups for selector in split(group)],
        )


def split(group):
    """At the commas that stand in no brackets."""
    return re.split(r",(?![^(]*\))", group)


def homes_of(parts):
    """The part that styles each class first."""
    homes = {}
    for part, selectors in parts:
        for selector in selectors:
            for name in CLASS.findall(selector):
                homes.setdefault(name, part)
    return homes


def strangers(css):
    """The selectors that give a class a second meaning, with the class."""
    parts = list(parts_of(css))
    homes = homes_of(parts)
    for part, selectors in parts:
        for selector in selectors:
            names = CLASS.findall(selector)
            for at, name in enumerate(names):
                is_refined = homes[name] in BUILDING_BLOCKS and any(
                    homes[before] == part for before in names[:at]
                )
                if homes[name] != part and not is_refined:
                    yield selector, name


def test_no_class_is_styled_by_two_parts():
    assert list(strangers(CSS)) == []


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (".done { margin: 0; }", [(".done", "done")]),
        (".places .done { margin: 0; }", [(".places .done", "done")]),
        (".quiet { margin: 0; }", [(".quiet", "quiet")]),
        ("a, p:not(.a, .b) .steps > li { margin: 0; }", [("p:not(.a, .b) .steps > li", "steps")]),
        (".places .quiet, .places:hover { margin: 0; }", []),
    ],
)
def test_a_planted_second_meaning_is_found(planted, expected):
    assert list(strangers(CSS + planted)) == expected


def test_the_parts_are_read():
    parts = dict(parts_of(CSS))
    assert parts.keys() > BUILDING_BLOCKS | PLACES.keys()
    assert ".steps > .done::before" in parts["The demo"]
    assert ".places" in parts["A person's own account"]


def test_a_part_of_one_page_is_used_there_alone():
    homes = homes_of(parts_of(CSS))
    elsewhere = []
    files = [*(PROJECT / "templates").rglob("*.html"), *(PROJECT / "static").glob("*.js")]
    for path in files:
        place = str(path.relative_to(PROJECT / ("templates" if path.suffix == ".html" else "static")))
        for names in USED.findall(path.read_text()):
            for name in " ".join(names).split():
                if (home := homes.get(name)) in PLACES and place not in PLACES[home]:
                    elsewhere.append((place, name))
    assert elsewhere == []
    assert USED.findall((PROJECT / "static/demo.js").read_text())
