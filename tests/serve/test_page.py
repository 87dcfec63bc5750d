"""The playground, as a browser (tests/browser.py) has it, over a real server on nano."""

import base64
import hashlib
import json
import re

import pytest

from tests.serve.conftest import expert
from yosegi.serve.page import HERE, SCRIPTS, playground

HOSTILE = "<img src=x onerror=alert(1)>"
NAMELESS = """[...document.querySelectorAll("button, input, select, textarea, summary")].filter(e => e.offsetParent)
    .filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim())).map(e => e.outerHTML)"""
FOCUS = "(e => e.id || e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)"


@pytest.fixture
def page(browser, library, nano, serving):
    """The page of a server with four experts, one of which has a name that is markup."""
    library.add(expert(nano, HOSTILE, 2))
    browser.open(serving(library).url)
    browser.until("document.getElementById('base')?.textContent === 'nano' && document.querySelector('.slider')")
    browser.js("document.getElementById('most').value = 12")
    assert browser.all("#chat-arm select", "value") == ["=arrow"]
    yield browser
    assert browser.complaints == []
    browser.call("Fetch.disable")
    browser.open("about:blank")


def chunk(**choice):
    return f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n"


def test_it_asks_nobody_and_no_text_becomes_markup(serving, library):
    response = serving(library, api_key=["sesame"]).ask("/", headers={"Authorization": ""})
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    text, policy = response.text, response.headers["content-security-policy"]
    for tag in ("style", "script"):
        (part,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy and "default-src 'none'" in policy and "connect-src 'self'" in policy
    markup = re.sub(r"(?s)<(style|script).*?</\1>", "", text)
    assert not re.findall(r"""\b(?:src|href)=(?!"(?:#|data:))|\son\w+=|style=""", markup)
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacent|\bdocument\.write|\beval\(|https?://(?!www\.w3\.org/)", text
    )
    assert {path.stem for path in HERE.glob("*.js")} == set(SCRIPTS) and playground.__doc__


def test_a_conversation_with_two_arms(page):
    assert "(empty)" not in page.ask("12+30=", "base")
    assert len(page.all(".token")) == 0  # the base has no experts
    page.ask("30+12=", "arrow")
    assert page.all(".answer h2") == ["base", "arrow"]
    words = page.all(".token")
    assert 1 < len(words) <= 12 and "".join(words) == page.all(".answer:last-of-type .text")[0]
    shares = page.all(".legend li")
    assert shares and abs(sum(int(re.findall(r"(\d+) %", share)[0]) for share in shares) - 100) <= 2
    looks = page.js("[...document.querySelectorAll('.token')].map(e => getComputedStyle(e).textDecorationLine)")
    assert set(looks) == {"underline"}  # not by colour alone
    assert page.js("document.getElementById('live').textContent").startswith("arrow")
    assert not page.js("document.querySelector('.text').closest('[aria-live]')")

    page.point(".token", click=False)
    assert len(page.all("#tip tbody tr")) == 4
    weights = [float(text) for text in page.all("#tip td.n")]
    assert sum(weights) == pytest.approx(1, abs=3e-3) and weights == sorted(weights, reverse=True)
    assert len(page.all("#tip .cell")) == 4 * 4  # experts and blocks
    assert "0 " in page.js("document.querySelector('#tip svg').getAttribute('aria-label')")
    assert len(page.picture()) > 20_000

    page.js("document.querySelector('.token').focus()")
    page.key("ArrowRight")
    assert page.js("document.activeElement === document.querySelectorAll('.token')[1]")
    assert re.fullmatch(r".+: .+ 0\.\d+, .+", page.js("document.activeElement.getAttribute('aria-label')"))
    assert len(page.all(".token[tabindex]")) == 1
    page.key("Enter")
    page.point("#base")
    assert page.js("document.getElementById('tip').hidden")


def test_history_and_settings_are_sent(page):
    page.js("""sent = [], was = fetch, fetch = (path, given) => {
        if (given.body) sent.push([path, JSON.parse(given.body)]);
        return was(path, given);
    }; 0""")
    assert page.all("#plain", "checked") == [True]  # nano has no chat template
    page.point("#plain")
    page.js("system.value = 'Be brief.'; seed.value = 7; temperature.value = 0.5; most.value = 5; 0")
    page.answer_next(200, chunk(delta={"content": "An answer."}) + "data: [DONE]\n\n", Content_Type="text/event-stream")
    page.ask("a", "adder")
    page.call("Fetch.disable")
    page.ask("b", f'"{HOSTILE}"')
    (_, one), (path, two) = page.js("sent")
    assert path == "v1/chat/completions" and [turn["content"] for turn in one["messages"]] == ["Be brief.", "a"]
    assert [turn["content"] for turn in two["messages"]] == ["Be brief.", "a", "An answer.", "b"]
    assert two["model"] == f'"{HOSTILE}"' and (two["seed"], two["temperature"], two["max_tokens"]) == (7, 0.5, 5)
    page.point("#fresh")
    assert len(page.all(".answer")) == 0 and page.js(FOCUS) == "question"


def test_arms_side_by_side(page):
    page.point("#tab-compare")
    assert page.all(".lane select", "value") == ["=base", f'="{HOSTILE}"', "=arrow", "=merge:ties"]
    page.point("#more")
    page.pick("written", ".lane:last-child select")
    page.type("adder*.5+turner*-1")
    page.point("#prompt")
    page.type("3+4=")
    page.key("Enter")
    page.until("document.querySelectorAll('.lane .answer:not(.writing)').length === 5")
    titles = page.all(".lane h2")
    assert titles == ["base", f'"{HOSTILE}"', "arrow", "merge:ties", "adder*.5+turner*-1"]
    assert all(page.all(".lane .text", "textContent.length"))
    assert all(page.all(".trouble", "hidden"))
    page.point(".lane:nth-child(2) .bar .quiet")
    assert len(page.all(".lane")) == 4 and page.js("document.activeElement.tagName") == "SELECT"


def test_sliders_are_a_spec(page):
    page.js("document.querySelector('.slider:nth-child(2) input').focus()")
    for _ in range(14):
        page.key("ArrowRight")
    page.js("document.querySelector('.slider:nth-child(1) input').focus()")
    page.key("ArrowLeft")
    assert page.all("#spec")[0] == f'"{HOSTILE}"*-0.05+adder*0.7'
    page.point("#use")
    page.ask("1+1=")
    mixed = page.all(".answer:last-of-type .text")[0]
    page.pick("written")
    page.type(f'"{HOSTILE}"*-0.05+adder*0.7')
    assert mixed in page.ask("1+1=")
    assert set(page.all(".legend .named bdi")) == {"adder"}


def test_the_library_as_a_map_and_as_a_table(page):
    page.point("#tab-library")
    page.until("document.querySelectorAll('.node').length === 4")
    assert page.all("#experts tbody th", "innerText.trim()") == [HOSTILE, "adder", "copier", "turner"]
    places = list(zip(*(page.all(".disc", f"{x}.baseVal.value") for x in ("cx", "cy", "r")), strict=True))
    wide, tall = page.js("(e => [e.clientWidth, e.clientHeight])(document.querySelector('#map svg'))")
    assert all(r < x < wide - r and r < y < tall - r for x, y, r in places) and len({r for *_, r in places}) == 2
    page.js("document.querySelector('.node').focus()")
    page.key("ArrowRight")
    assert page.all("#card h3", "innerText.trim()") == ["adder"]
    page.point("#card button")
    assert page.all("#chat-arm select", "value")[0] == "=adder" and page.js(FOCUS) == "question"


def test_what_goes_wrong_is_said(page):
    page.pick("written")
    page.js("document.querySelector('#chat-arm input').value = 'addre'; 0")
    assert "'adder'" in page.ask("x")
    page.answer_next(429, '{"error": {"message": "256 answers wait."}}', Retry_After="3")
    assert "256 answers wait. Try again in 3 s." in page.ask("y")
    routing = {"experts": ["adder", HOSTILE], "tokens": [{"text": HOSTILE, "weights": [0.1, 0.9], "layers": {}}]}
    body = chunk(text=HOSTILE, routing=routing) + chunk(text="<b>", routing=routing)
    page.answer_next(200, body, Content_Type="text/event-stream")
    assert "ended it in the middle. What came by then is kept." in page.ask("z")
    assert page.all(".answer:last-of-type .text")[0] == HOSTILE + "<b>"
    assert len(page.all("img, .text b")) == 0
    page.call("Fetch.disable")
    page.js("document.querySelector('#chat-arm select').value = '=base'; 0")
    page.point(".answer:last-of-type .quiet")  # the same arm again, which is still not there
    page.until("document.querySelector('.answer:last-of-type .trouble').textContent.includes('addre')")
    assert page.all(".answer:last-of-type .text")[0] == HOSTILE + "<b>"  # still
    assert [line for line in page.complaints if "Failed to load resource" not in line] == []


def test_an_answer_can_be_stopped(page):
    page.js("""was = fetch, fetch = async (path, given) => {
        const response = await was(path, given), reader = response.body.getReader(), { value } = await reader.read();
        return new Response(new ReadableStream({ start(stream) {  // the rest never comes
            stream.enqueue(value);
            given.signal.addEventListener("abort", () => stream.error(given.signal.reason));
        } }), response);
    }; 0""")
    page.pick("=arrow")
    page.point("#question")
    page.type("12+30=")
    page.key("Enter")
    page.until("document.querySelector('.text')?.textContent")
    assert page.all("#send, #stop", "disabled") == [True, False]
    page.point("#stop")
    page.until("!document.getElementById('send').disabled")
    assert "stopped" in page.all(".answer", "innerText")[0] and not page.all(".writing")


def test_narrow_dark_and_by_keyboard(page):
    page.look(360, 740, dark=True)
    for view in ("chat", "compare", "library"):
        page.point(f"#tab-{view}")
        assert page.js("document.documentElement.scrollWidth <= innerWidth"), view
        assert page.js(NAMELESS) == []
    dark = page.js("getComputedStyle(document.body).backgroundColor")
    page.look()
    assert dark != page.js("getComputedStyle(document.body).backgroundColor")
    page.point("#tab-chat")
    reached = []
    for _ in range(30):
        page.key("Tab")
        reached.append(page.js(FOCUS))
    wanted = "tab-chat arm-1 question send fresh system temperature most seed plain deep copy use zero"
    assert set(wanted.split()) <= set(reached)
    page.js("document.getElementById('tab-chat').focus()")
    page.key("ArrowRight")
    assert page.js(FOCUS) == "tab-compare" and page.js("document.getElementById('view-chat').hidden")


def test_a_key_is_asked_for_and_kept_in_the_tab(browser, serving, library):
    browser.open(serving(library, api_key=["sesame"]).url)
    browser.until("document.getElementById('door')?.open")
    browser.type("wrong")
    browser.key("Enter")
    browser.until(
        "document.getElementById('door').open && document.getElementById('door').innerText.includes('not taken')"
    )
    browser.type("sesame")
    browser.key("Enter")
    browser.until("document.getElementById('base').textContent === 'nano'")
    kept = browser.js("[Object.values(sessionStorage).join(), localStorage.length, document.cookie]")
    assert kept == ["sesame", 0, ""]
    assert [line for line in browser.complaints if "401" not in line] == []
    browser.js("sessionStorage.clear(); 0")
    browser.open("about:blank")
