"""Browsers: headless Chromium and Firefox follow the story in a page of their own; dillo shows one.

The page is served through the proxy, loads an image and a script, and its script asks for the rest; what it
saw goes to a listener beside, which is no part of what is watched. No name but 127.0.0.1 can be resolved or
reached: everything else is sent to a proxy that does not exist.
"""

import contextlib
import http.server
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.clients.model import CLOSED, KEPT, Needs, Program, Seen, told
from tests.clients.stage import RUN_LIMIT, Stage
from tests.clients.tools import first_line
from tests.kit.proxy import free_port

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
PAGE = """<!doctype html><meta charset="utf-8"><title>story</title><link rel="icon" href="data:,">
<img id="image" src="/image.png"><script src="/script.js"></script>
"""
SCRIPT = """
const idle = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
async function ask(step, size) {
  try {
    const got = await fetch("/" + step, size ? { method: "POST", body: "u".repeat(size) } : {});
    const body = await got.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${step} ${got.status} ${body.byteLength} ${hex}`;
  } catch (error) {
    return `${step} error ${error}`;
  }
}
window.onload = async () => {
  const image = document.getElementById("image");
  const lines = [`image ${image.naturalWidth === 1 ? 200 : 0} 0 -`];
  const steps = { kept: 0, again: 0, post: 300000, refused: 3000000, closed: 0 };
  for (const [step, size] of Object.entries(steps)) {
    lines.push(await ask(step, size));
    if (step === "kept") await idle(IDLE);
  }
  await fetch("NOTES", { method: "POST", mode: "no-cors", body: lines.join("\\n") });
};
"""
DEAD = "127.0.0.1:9"

CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--no-default-browser-check", "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--proxy-server={DEAD}",
    "--remote-debugging-port=0",
]  # fmt: skip
FIREFOX_PREFS = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.prefetch-next": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.update.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
    "browser.tabs.remote.autostart": True,
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
}


@contextlib.contextmanager
def notes() -> Iterator[tuple[str, Callable[[float], str]]]:
    """A listener for what the page says of itself: its URL, and a wait for the text."""
    came: list[str] = []
    there = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()
            there.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def wait(seconds: float) -> str:
        there.wait(seconds)
        return "\n".join(came)

    try:
        yield f"http://127.0.0.1:{server.server_port}/", wait
    finally:
        server.shutdown()
        server.server_close()


def _pages(stage: Stage, note_url: str) -> None:
    script = SCRIPT.replace("IDLE", f"{stage.idle:.1f}").replace("NOTES", note_url)
    stage.page("/page.html", PAGE.encode(), "Content-Type: text/html\r\n")
    stage.page("/image.png", PIXEL, "Content-Type: image/png\r\n")
    stage.page("/script.js", script.encode(), "Content-Type: text/javascript\r\n")


def _browse(stage: Stage, words: Sequence[str]) -> dict[str, Seen]:
    with notes() as (url, wait):
        _pages(stage, url)
        with stage.started([*words, f"{stage.base}/page.html"]):
            text = wait(RUN_LIMIT)
            time.sleep(stage.idle)
    return told(text)


def chromium(stage: Stage) -> dict[str, Seen]:
    """A profile of its own, thrown away with the directory."""
    return _browse(stage, [*CHROMIUM, f"--user-data-dir={stage.directory / 'profile'}"])


def firefox(stage: Stage) -> dict[str, Seen]:
    """The same."""
    profile = stage.directory / "profile"
    profile.mkdir()
    lines = [
        f'user_pref("{name}", {str(value).lower() if isinstance(value, bool) else repr(value)});'
        for name, value in FIREFOX_PREFS.items()
    ]
    (profile / "user.js").write_text("\n".join(lines).replace("'", '"') + "\n")
    return _browse(stage, ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile)])


def dillo(stage: Stage) -> dict[str, Seen]:
    """A page at a display of its own; the image stands at the page's end, so it has read that far."""
    filler = "<p>" + "x" * 90 + "</p>\n"
    text = "<!doctype html><title>story</title>\n" + filler * (200_000 // len(filler))
    pages = {step: f'{text}<img src="/{step}.png">\n'.encode() for step in (KEPT, CLOSED)}
    for step, page in pages.items():  # an image each: that of the first is in the log all the time
        stage.page(f"/{step}.png", PIXEL, "Content-Type: image/png\r\n")
        stage.page(f"/{step}", page, "Content-Type: text/html\r\n")
    settings = stage.directory / ".dillo"
    settings.mkdir()
    (settings / "dillorc").write_text('load_images=YES\nno_proxy="127.0.0.1"\nstart_page="about:blank"\n')
    display = f":{free_port() % 10_000 + 50}"
    found = {}
    screen = ["Xvfb", display, "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with stage.started(screen):
        lock = Path(f"/tmp/.X11-unix/X{display[1:]}")
        limit = time.monotonic() + 20
        while not lock.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        for step, page in pages.items():
            with stage.started(["dillo", f"{stage.base}/{step}"], {"DISPLAY": display}):
                stage.await_exchange(f"{step}.png")
                time.sleep(stage.idle)
            size = len(page) if stage.arrivals.pop(f"{step}.png", None) else 0
            found[step] = Seen(200 if size else 0, size)
    return found


def _chromium_version() -> str:
    return first_line("chromium", "--version")() if shutil.which("chromium") else "?"


PROGRAMS = (
    Program("Chromium", Needs(["chromium"], source="apt install chromium"), _chromium_version, chromium),
    Program(
        "Firefox",
        Needs(["firefox-esr"], source="apt install firefox-esr"),
        first_line("firefox-esr", "--version"),
        firefox,
    ),
    Program(
        "dillo",
        Needs(["dillo", "Xvfb"], source="apt install dillo xvfb"),
        first_line("dillo", "--version"),
        dillo,
        steps=(KEPT, CLOSED),
    ),
)
