"""Headless Chromium over the pipes of its DevTools protocol, for the tests of every page: no port, no driver, no package."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
INSTALL = "apt-get install chromium (Debian), brew install --cask chromium (macOS)"
KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "End": 35}


class Browser:
    """One page of headless Chromium."""

    def __init__(self, profile):
        theirs, self.to = os.pipe()
        self.of, back = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, back)]
        os.close(theirs), os.close(back)
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-extensions", "--remote-debugging-pipe",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(ends, 3)],
        )  # fmt: skip
        [os.close(end) for end in ends]
        self.rest, self.number, self.events, self.session, self.canned = b"", 0, [], {}, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def send(self, method, **parameters):
        self.number += 1
        data = json.dumps({"id": self.number, "method": method, "params": parameters, **self.session}).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        return self.number

    def call(self, method, **parameters):
        number = self.send(method, **parameters)
        while (message := self._read()).get("id") != number:
            self.events.append(message)
            if message.get("method") == "Fetch.requestPaused":
                self.send("Fetch.fulfillRequest", requestId=message["params"]["requestId"], **self.canned.pop(0))
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def _read(self):
        while b"\0" not in self.rest:
            assert select.select([self.of], [], [], 60)[0], "chromium says nothing"
            piece = os.read(self.of, 2**20)
            assert piece, "chromium is gone"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def js(self, text):
        result = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def all(self, selector, what="textContent"):
        """One property of all elements."""
        return self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.{what})")

    def until(self, text):
        """Waits until something is true."""
        end = time.monotonic() + 60
        while not self.js(f"!!({text})"):
            assert time.monotonic() < end, f"it never came true: {text}\n{self.js('document.body.innerText')}"
            time.sleep(0.03)

    def answer_next(self, status, body, **headers):
        """What the next request for an answer gets, instead of the server's."""
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
        body = base64.b64encode(body.encode()).decode()
        self.canned.append({"responseCode": status, "responseHeaders": given, "body": body})
        self.call("Fetch.enable", patterns=[{"urlPattern": "*/completions"}])

    def open(self, url, width=1280, height=800, dark=False):
        self.look(width, height, dark)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def look(self, width=1280, height=800, dark=False, media="screen"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still], media=media)

    def point(self, selector, click=True):
        """Moves the pointer to the first element that is shown, and clicks."""
        x, y = self.js(f"""(() => {{
            const shown = [...document.querySelectorAll({json.dumps(selector)})].find(e => e.getClientRects().length);
            shown.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = shown.getClientRects()[0];
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") * click:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, key, shift=False):
        given = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r" if key == "Enter" else "", **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def pick(self, value, selector="#chat-arm select"):
        self.js(f"""(() => {{
            const select = document.querySelector({json.dumps(selector)});
            select.value = {json.dumps(value)};
            select.dispatchEvent(new Event("change"));
        }})()""")

    def ask(self, text, arm=None):
        """Asks in the chat, and waits for the answer."""
        if arm:
            self.pick(f"={arm}")
        self.point("#question")
        self.type(text)
        self.key("Enter")
        self.until("!document.getElementById('send').disabled && !document.getElementById('question').value")
        return self.js("document.querySelector('.answer:last-of-type').innerText")

    @property
    def complaints(self):
        """What the console said since it was last asked."""
        self.js("0")
        found = []
        for event in self.events:
            given = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(given["exceptionDetails"]))
            elif event.get("method") == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
                found.append(given["entry"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning"):
                found.append(str(given["args"]))
        self.events.clear()
        return found

    def picture(self):
        """The colours of some pixels of a screenshot would depend on fonts: its size says that something was drawn."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self):
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close")
        self.process.wait(20)
        os.close(self.to), os.close(self.of)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip(f"no chromium, chromium-browser or google-chrome is on the PATH: {INSTALL}")
    try:
        started = Browser(tmp_path_factory.mktemp("chromium"))
    except (OSError, AssertionError) as error:  # such as a stub that would fetch the real one
        pytest.skip(f"{CHROMIUM} does not start: {str(error).splitlines()[0]}; {INSTALL}")
    yield started
    started.close()
