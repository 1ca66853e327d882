"""A headless Chromium, steered through a pipe: what a page does when someone looks, types and prints."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys

import pytest

_SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")

#: The protocol speaks through file descriptors 3 and 4; what starts the browser puts them there.
_WIRING = """
import os, sys
reads, writes, *command = sys.argv[1:]
os.dup2(int(reads), 23), os.dup2(int(writes), 24)
os.dup2(23, 3), os.dup2(24, 4)
os.execvp(command[0], command)
"""


class Tab:
    """One tab. What the console says, and which addresses the page asks for, is kept."""

    def __init__(self, send, receive):
        self._send, self._receive, self._ids, self._session = send, receive, itertools.count(1), None
        self.console, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """A command of the DevTools protocol, and its answer."""
        number = next(self._ids)
        session = {"sessionId": self._session} if self._session else {}
        self._send({"id": number, "method": method, "params": params, **session})
        while (answer := self._receive()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.console.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def run(self, code):
        """The value of an expression, a promise's when it is there."""
        done = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, path, width=1280, dark=False, drawn=True):
        """Show a file and wait until it is drawn, or has had two seconds for it; clears what was kept."""
        self.console, self.requests = [], []
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.documentElement?.dataset.drawn !== undefined", 60 if drawn else 2)

    def wait(self, condition, seconds=10):
        """Until a condition holds."""
        self.run(
            f"(async () => {{ const end = performance.now() + 1000 * {seconds}; while (!({condition}) && "
            "performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20)); })()"
        )

    def press(self, key):
        """A key, down and up."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            code = {"Enter": 13, "Tab": 9}[key]
            extra = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def picture(self, path, height=None):
        """A screenshot of the whole page, or of its top."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self):
        """The printed page."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])


@contextlib.contextmanager
def chromium(profile):
    """A tab of a new browser, with no network where that can be cut."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine: the page was not opened in a browser")
    offline = ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*offline, "true"], capture_output=True, check=False).returncode:
        offline = []
    (there_out, here_in), (here_out, there_in) = os.pipe(), os.pipe()
    command = [*offline, browser, *_SWITCHES, f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    wired = [sys.executable, "-c", _WIRING, str(there_out), str(there_in), *command]
    process = subprocess.Popen(wired, pass_fds=(there_out, there_in), **quiet)
    os.close(there_out), os.close(there_in)
    with open(here_in, "wb", buffering=0) as writes, open(here_out, "rb", buffering=0) as reads:
        buffer = bytearray()

        def send(message):
            writes.write(json.dumps(message).encode() + b"\0")

        def receive():
            while (end := buffer.find(b"\0")) < 0:
                part = reads.read(1 << 20)
                assert part, "the browser has gone"
                buffer.extend(part)
            message = json.loads(bytes(buffer[:end]))
            del buffer[: end + 1]
            return message

        tab = Tab(send, receive)
        try:
            yield tab
        finally:
            with contextlib.suppress(OSError, AssertionError):
                tab._session = None
                tab.call("Browser.close")
            process.wait(timeout=30)
