"""What people do on the page, from the first choice to the last key, in a real browser."""

import json
import re
from urllib.parse import parse_qs, urlsplit

from .parts import ALERT, CHART, CODE, EXCEPTION, MAIN, METRIC, POINT, SIDEBAR, TAB
from .visits import settle

ASKED = "gpu=RTX+3090&model=Qwen3.5-35B-A3B&quant=Q4_K_M&ctx=64Ki"
RUNS_OUT = "llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M -c 262144 --no-mmproj"


def command_of(page):
    return page.locator(CODE).first.inner_text().strip()


def figures_of(page):
    return [" ".join(text.split()) for text in page.locator(METRIC).all_inner_texts()]


def pick(page, label, words):
    """Choose in a list as people do: open it, type, Enter."""
    field = page.locator(SIDEBAR).get_by_role("combobox", name=label)
    field.click()
    field.fill(words)
    page.keyboard.press("Enter")
    settle(page)


def test_choose_read_copy(visit):
    page = visit()
    before = figures_of(page)
    pick(page, "GPU", "RTX 5090")
    pick(page, "Model", "Qwen3.5-27B")
    after = figures_of(page)
    assert after != before
    assert any("tok/s" in figure for figure in after)
    assert "Qwen3.5-27B" in command_of(page)
    page.locator(CODE).first.hover()
    page.get_by_role("button", name="Copy to clipboard").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == command_of(page)


def test_the_answer_stands_on_the_first_screen(visit):
    """A laptop's screen shows command, speeds, memory and risk without scrolling."""
    page = visit(f"{ASKED}&concurrency=6", width=1366, height=768)
    for part in (page.locator(CODE).first, page.locator(CHART).first, *page.locator(METRIC).all()):
        box = part.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 768
    figures = page.locator(METRIC).all_inner_texts()
    assert len(figures) == 6
    assert not any("…" in text for text in figures), "no figure is cut"


def test_the_slider_moves_the_answer(visit):
    page = visit(ASKED)
    before = figures_of(page)
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert figures_of(page) != before
    assert page.get_by_role("textbox", name="Context").input_value() == "96Ki"
    assert parse_qs(urlsplit(page.url).query)["ctx"] == ["96Ki"]


def test_paste_a_command_and_mend_it(visit):
    page = visit("gpu=RTX+3090&view=Check")
    box = page.get_by_role("textbox", name="Launch command")
    box.fill(RUNS_OUT)
    page.keyboard.press("Control+Enter")
    settle(page)
    assert "Runs out of memory" in page.locator(ALERT).first.inner_text()
    page.get_by_role("button", name="Use it").first.click()
    settle(page)
    assert box.input_value() != RUNS_OUT
    assert "Fits" in page.locator(ALERT).first.inner_text()


def test_bring_rows_look_at_them_and_confirm(visit, tmp_path):
    rows = tmp_path / "mine.csv"
    rows.write_text(
        "source_url,model,quant,engine,gpu,depth,decode_tps\n"
        "file:mine.md,Qwen3.5-9B,Q4_K_M,llama.cpp,RTX 3060 12GB,0,61.5\n"
        "file:mine.md,Qwen3.5-9B,Q4_K_M,llama.cpp,RTX 3060 12GB,0,banana\n"
    )
    page = visit("view=Your+data&gpu=RTX+3060+12GB&model=Qwen3.5-9B&quant=Q4_K_M")
    page.locator("input[type=file]").set_input_files(rows)
    settle(page)
    assert "Rejected: 1" in page.locator(MAIN).inner_text()
    assert "What is chosen now" in page.locator(MAIN).inner_text()
    page.get_by_role("button", name="Add 1 rows").click()
    settle(page)
    assert "1 rows were added" in page.locator(ALERT).first.inner_text()
    found = visit("view=Evidence&runs_text=mine.md&gpu=RTX+3060+12GB&model=Qwen3.5-9B")
    assert "1 of" in found.locator(MAIN).inner_text()


def test_a_link_that_is_shared_gives_the_same_page(visit):
    page = visit(ASKED)
    pick(page, "KV cache", "q8_0")
    page.get_by_role("tab", name="Users").click()
    settle(page)
    again = visit(urlsplit(page.url).query)
    assert command_of(again) == command_of(page)
    assert figures_of(again) == figures_of(page)
    assert again.get_by_role("tab", name="Users").get_attribute("aria-selected") == "true"


def test_compare_keeps_two_configurations_in_the_link(visit):
    page = visit(ASKED)
    page.get_by_role("button", name="Compare", exact=True).click()
    settle(page)
    page.get_by_role("tab", name="Explore").click()
    settle(page)
    pick(page, "GPU", "RTX 4090")
    page.get_by_role("button", name="Compare", exact=True).click()
    settle(page)
    again = visit(urlsplit(page.url).query)
    table = again.locator("table").first.inner_text()
    assert "RTX 3090" in table
    assert "RTX 4090" in table


def test_a_measured_point_opens_its_source(visit):
    page = visit(ASKED)
    point = page.locator(CHART).nth(1).locator(POINT).first
    source = re.search(r"source: (\S+)", point.get_attribute("aria-label"))[1]
    with page.expect_request(source):
        point.click()


def test_the_answer_can_be_kept_as_json(visit, tmp_path):
    page = visit(ASKED)
    with page.expect_download() as kept:
        page.get_by_role("button", name="JSON", exact=True).click()
    kept.value.save_as(tmp_path / "answer.json")
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["command"] in command_of(page)


def test_a_chart_can_be_kept_as_a_picture(visit, tmp_path):
    page = visit(ASKED)
    page.locator(CHART).nth(1).hover()
    with page.expect_download() as kept:
        page.get_by_role("button", name=re.compile("^Download as PNG: Decoding")).click()
    kept.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_everything_is_reached_by_keyboard_alone(visit):
    """Tab to the model, choose another, read on to the tabs, and open one with the arrow keys."""
    page = visit(ASKED)
    before = command_of(page)

    def tab_to(matches, most=80):
        for _ in range(most):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "() => [document.activeElement.getAttribute('role'),"
                " document.activeElement.getAttribute('aria-label') || document.activeElement.textContent]"
            )
            if matches(*focused):
                return
        raise AssertionError("it is not reached")

    tab_to(lambda role, text: role == "combobox" and "Model" in (text or ""))
    page.keyboard.type("Qwen3.5-9B")
    page.keyboard.press("Enter")
    settle(page)
    assert command_of(page) != before
    tab_to(lambda role, text: role == "tab" and "Explore" in (text or ""))
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        settle(page)
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator(f"{TAB}[aria-selected=true]").first.inner_text() == "Recommend"
    assert page.locator(EXCEPTION).count() == 0
