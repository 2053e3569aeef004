"""The pages in a real browser that can reach no other host."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")


@pytest.fixture
def asked() -> list[str]:
    """The addresses that were asked for; what the page's policy held back is not among them."""
    return []


@pytest.fixture
def page(tmp_path: Path, asked: list[str]) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=CHROMIUM, args=FLAGS, headless=True
        )
        page = context.pages[0]
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: asked.remove(request.url) if request.failure == "csp" else None)
        yield page
        context.close()


def foreign(asked: list[str], url: str) -> list[str]:
    return [address for address in asked if not address.startswith((url, "data:", "blob:"))]


@needs_chromium
def test_try_it_out_sends_a_chat_completion_and_shows_its_answer(page: Page, url: str, asked: list[str]) -> None:
    page.goto(f"{url}/docs")
    operation = page.locator("#operations-OpenAI-createChatCompletion")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table .highlight-code code").first
    shown.wait_for()
    answer = json.loads(shown.inner_text())
    assert answer["choices"][0]["message"]["content"] == "You said: Why is the sky blue?"
    assert f"{url}/v1/chat/completions" in asked
    assert not foreign(asked, url)


@needs_chromium
def test_redoc_shows_every_operation(page: Page, url: str, asked: list[str]) -> None:
    page.goto(f"{url}/redoc")
    page.get_by_role("heading", name="Continue a conversation").wait_for()
    page.get_by_role("heading", name="Turn texts into vectors").wait_for()
    assert not foreign(asked, url)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_name_no_other_host(http: httpx.Client, path: str) -> None:
    reply = http.get(path)
    assert "http" not in reply.text
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
