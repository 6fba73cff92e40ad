"""The API through OpenAI's library, and the page through Chromium. See serve_check.sh."""

import base64
import concurrent.futures
import pathlib
import sys

import openai
import playwright.sync_api as playwright_api
from playwright.sync_api import expect, sync_playwright

ADDRESS, KEY, PICTURE, BROWSER, OUT = sys.argv[1:]
MODEL = "checked"


def done(what):
    print("ok  ", what, flush=True)


def messages(text="What is this?"):
    data = base64.b64encode(pathlib.Path(PICTURE).read_bytes()).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [{"role": "user", "content": [url, {"type": "text", "text": text}]}]


def fails(kind, what, call):
    try:
        call()
    except kind as error:
        assert error.body["message"], error
        done(f"{what}: {kind.__name__}, code {error.body['code']}")
        return
    raise AssertionError(f"{what}: no {kind.__name__}")


def library():
    client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, max_retries=0)
    create = client.chat.completions.create
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    done("models.list, models.retrieve")
    whole = create(model=MODEL, messages=messages(), temperature=0, max_tokens=32)
    text, usage = whole.choices[0].message.content, whole.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    done(f"an answer: {text!r}, {usage.prompt_tokens} + {usage.completion_tokens} tokens, {whole.choices[0].finish_reason}")
    pieces = list(
        create(model=MODEL, messages=messages(), temperature=0, max_tokens=32, stream=True, stream_options={"include_usage": True})
    )
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert said == text, (said, text)
    assert pieces[-1].usage == usage, (pieces[-1].usage, usage)
    done(f"the same as a stream of {len(pieces)} pieces, with its usage")
    with client.chat.completions.stream(model=MODEL, messages=messages(), temperature=0, max_tokens=32) as stream:
        assert stream.get_final_completion().choices[0].message.content == text
    done("the library's own reader of streams")
    more = {"top_k": 20, "min_p": 0.01, "repetition_penalty": 1.1}
    sampled = [
        create(model=MODEL, messages=messages(), temperature=1.2, top_p=0.9, seed=7, max_tokens=16, extra_body=more) for _ in range(2)
    ]
    assert sampled[0].choices[0].message.content == sampled[1].choices[0].message.content
    done("a seed is kept to")
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    create(model=MODEL, messages=plain, max_completion_tokens=4, stop=["\n"], n=1, user="u", store=False)
    done("words alone, with fields that change nothing")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: create(model=MODEL, messages=messages(), temperature=0, max_tokens=32), range(16)))
    assert all(answer.choices[0].message.content == text for answer in answers)
    done("sixteen at once say the same")
    stream = create(model=MODEL, messages=messages(), max_tokens=64, stream=True)
    next(iter(stream))
    stream.close()
    done("a stream that is left")
    fails(openai.NotFoundError, "another model", lambda: create(model="gpt-4", messages=messages()))
    fails(openai.BadRequestError, "two answers", lambda: create(model=MODEL, messages=messages(), n=2))
    remote = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]
    fails(openai.BadRequestError, "an address", lambda: create(model=MODEL, messages=remote))
    other = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="wrong-key-wrong-key", max_retries=0)
    fails(openai.AuthenticationError, "a wrong key", lambda: other.models.list())


def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for wrong in (None, {"username": "anybody", "password": "wrong-key-wrong-key"}):
            stranger = browser.new_page(http_credentials=wrong)
            try:
                refused = stranger.goto(ADDRESS).status == 401
            except playwright_api.Error as error:
                refused = "INVALID_AUTH_CREDENTIALS" in str(error)
            assert refused and stranger.locator("#prompt").count() == 0
            stranger.close()
        done("the page wants the key")
        password = {"username": "anybody", "password": KEY}
        for scheme in ["light", "dark"]:
            view = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 760}, http_credentials=password)
            problems, asked = [], []
            view.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
            view.on("pageerror", lambda error: problems.append(str(error)))
            view.on("request", lambda request: asked.append(request.url))
            view.goto(ADDRESS)
            expect(view.locator("#model")).to_have_text(MODEL)
            assert view.locator("#ask-key[open]").count() == 0
            view.set_input_files("#file", PICTURE)
            view.wait_for_selector(".frame img")
            view.fill("#prompt", "Where is the object?")
            view.press("#prompt", "Enter")
            expect(view.locator("#status")).to_contain_text("written in", timeout=60000)
            said = view.text_content(".turn.assistant .said")
            done(f"the page, {scheme}: {said!r}; {view.text_content('#status')}; {view.locator('.frame rect').count()} boxes")
            view.screenshot(path=f"{OUT}/page-{scheme}.png")
            # What a model could say, through the page's own functions.
            evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> [0.1, 0.2, 0.6, 0.7] (300,400),(900,950)"
            view.evaluate(
                "text => { state.boxes = boxesIn(text); draw(); const { turn } = addTurn('assistant', text); legend(turn, state.boxes); }", evil
            )
            assert view.title() != "owned" and view.locator(".turn img").count() == 0 and view.locator(".turn script").count() == 0
            assert view.locator(".frame rect").count() == 2
            box = view.locator(".frame rect").first
            assert (box.get_attribute("x"), box.get_attribute("width")) == ("0.1", "0.5"), box.get_attribute("width")
            view.screenshot(path=f"{OUT}/boxes-{scheme}.png")
            view.select_option("#units", "none")
            assert view.locator(".frame rect").count() == 0
            done(f"the page, {scheme}: markup stays text, boxes are drawn and hidden")
            assert not problems, problems
            assert all(url.startswith((ADDRESS, "blob:", "data:")) for url in asked), asked
            kept = view.evaluate("[document.cookie, localStorage.length, sessionStorage.length]")
            assert kept == ["", 0, 0], kept
            view.close()
        small = browser.new_page(viewport={"width": 390, "height": 800}, http_credentials=password)
        small.goto(ADDRESS)
        expect(small.locator("#model")).to_have_text(MODEL)
        small.screenshot(path=f"{OUT}/page-small.png")
        assert small.evaluate("document.documentElement.scrollWidth <= innerWidth")
        done("the page on a small screen is no wider than that")
        browser.close()


library()
page()
