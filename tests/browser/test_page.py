"""Whatever the page shows: it opens without complaint, for everybody, and talks to nobody else."""

import pytest

from .parts import APP, EXCEPTION, MAIN, STICKS_OUT
from .visits import settle

ASKED = "gpu=3090&model=qwen3.5-9b&quant=Q4_K_M&ctx=64Ki"
PINNED = "gpu%3DRTX+3090%26model%3DQwen3.5-9B%26quant%3DQ4_K_M"
LINKS = [
    "",
    ASKED,
    "gpu=no+such+card",
    f"view=Compare&with={PINNED}&with={PINNED.replace('3090', '4090')}",
    "view=Recommend&gpu=RTX+3090",
    "view=Check&gpu=RTX+3090&command=llama-server+-hf+unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M+-c+262144",
    "view=Evidence",
    "view=Notes&notes_text=prefix+caching",
    "view=Your+data",
    *(f"{ASKED}&curve={name}" for name in ("Context", "Users", "Formats", "Cards")),
]
"""The page as it opens, at an answer in full, at a link that is broken, and every view and curve."""


@pytest.mark.parametrize("query", LINKS)
def test_it_is_sound_for_everybody(visit, violations, query):
    """No complaint, no other host, nothing grave for axe in either theme, nothing off a phone's screen."""
    page = visit(query)
    assert page.locator(f"{MAIN} h1").count() == 1
    assert page.locator(EXCEPTION).count() == 0
    for theme, is_theme in (("light", 600), ("dark", -200)):
        page.emulate_media(color_scheme=theme)
        settle(page)
        shade = page.locator(APP).evaluate("app => getComputedStyle(app).backgroundColor")
        light = sum(int(part) for part in shade.removeprefix("rgb(").removesuffix(")").split(","))
        assert light > is_theme if is_theme > 0 else light < -is_theme, "the page follows the system's theme"
        found = violations(page)
        assert not found, f"{theme}: " + "\n".join(found)
    assert visit(query, width=390, height=844).evaluate(STICKS_OUT) == []
    heard = visit.heard(page)
    assert heard.errors == []
    assert heard.hosts() == {"127.0.0.1"}


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
