"""Whatever the page shows: it opens without complaint, for everybody, and talks to nobody else."""

import pytest

from .parts import APP, EXCEPTION, MAIN, STICKS_OUT
from .visits import settle

ASKED = "gpu=3090&model=qwen3.5-9b&quant=Q4_K_M&ctx=64Ki"
LINKS = ["", ASKED, "gpu=no+such+card"]
"""The page as it opens, at an answer in full, and at a link that is broken."""
THEMES = ["light", "dark"]


@pytest.mark.parametrize("query", LINKS)
def test_it_opens_without_complaint(visit, query):
    page = visit(query)
    assert page.locator(f"{MAIN} h1").count() == 1
    assert page.locator(EXCEPTION).count() == 0
    assert visit.heard(page).errors == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("query", LINKS)
def test_axe_finds_nothing_serious(visit, violations, query, theme):
    found = violations(visit(query, theme=theme))
    assert not found, "\n".join(found)


def test_it_follows_the_theme_of_the_system(visit):
    shades = {}
    for theme in THEMES:
        app = visit(ASKED, theme=theme).locator(APP)
        colour = app.evaluate("app => getComputedStyle(app).backgroundColor")
        shades[theme] = sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    assert shades["light"] > 600
    assert shades["dark"] < 200


@pytest.mark.parametrize("query", LINKS)
def test_nothing_sticks_out_of_a_phone(visit, query):
    assert visit(query, width=390, height=844).evaluate(STICKS_OUT) == []


def test_only_this_machine_is_asked(visit):
    page = visit(ASKED)
    assert len(visit.heard(page).addresses) > 10
    assert visit.heard(page).hosts() == {"127.0.0.1"}


def test_what_is_wrong_would_be_seen(visit, violations):
    """A page that is spoilt on purpose: the tests above are worth what they notice."""
    page = visit(ASKED, width=390, height=844)
    page.evaluate(
        f"""() => {{
          const spoilt = document.createElement('div');
          spoilt.innerHTML = '<img src="data:," width="900"><hr style="width: 900px">';
          document.querySelector('{MAIN} h1').append(spoilt);
          console.error('a complaint');
          fetch('http://elsewhere.invalid/').catch(() => null);
        }}"""
    )
    settle(page)
    assert any(found.startswith("image-alt (critical)") for found in violations(page))
    assert any("HR" in found for found in page.evaluate(STICKS_OUT))
    heard = visit.heard(page)
    assert "elsewhere.invalid" in heard.hosts()
    assert any("a complaint" in error for error in heard.errors)
