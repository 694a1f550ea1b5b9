"""Pictures of the main views, of real answers: those in docs/pictures (`make pictures`)."""

import pytest

from .parts import EXCEPTION

PINS = (
    "gpu%3DRTX+3090%26model%3DQwen3.5-35B-A3B%26quant%3DQ4_K_M%26ctx%3D64Ki",
    "gpu%3DRTX+4090%26vram%3D48%26model%3DQwen3.5-27B%26quant%3DFP8%26engine%3Dvllm%26ctx%3D64Ki",
    "gpu%3D2x3090%26model%3DQwen3.5-27B%26quant%3DQ6_K%26ctx%3D64Ki",
)
ASKED = "gpu=RTX+3090&model=Qwen3.5-35B-A3B&quant=Q4_K_M&ctx=64Ki"
VIEWS = {
    "explore": (ASKED, "light", False),
    "explore-dark": (f"{ASKED}&curve=Context", "dark", True),
    "compare": ("view=Compare&" + "&".join(f"with={pin}" for pin in PINS), "light", True),
    "recommend": ("view=Recommend&gpu=RTX+3090&ctx=64Ki", "light", True),
    "check": (
        "view=Check&gpu=RTX+3090&command=llama-server+-hf+unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M+-c+262144",
        "light",
        True,
    ),
    "evidence": ("view=Evidence&gpu=RTX+3090&model=Qwen3.5-35B-A3B", "light", True),
    "notes": ("view=Notes&notes_text=prefix+caching", "light", False),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_is_taken(visit, screenshot, name):
    query, theme, whole = VIEWS[name]
    page = visit(query, theme=theme)
    assert page.locator(EXCEPTION).count() == 0
    assert screenshot(page, name, whole=whole).stat().st_size > 20_000
