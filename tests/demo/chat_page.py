"""The page as somebody uses it: finds things by what they say, and waits for what happens, never for time to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from .support import DemoProcess, until

expect.set_options(timeout=60_000)

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
"""Widths and heights of the page on each device."""


class ChatPage:
    """Is one tab."""

    def __init__(self, page: Page, server: DemoProcess) -> None:
        self.page = page
        self.server = server
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self._note(message.type, message.text))

    def _note(self, kind: str, text: str) -> None:
        # A server that is away, or answers 4xx, is noted by the browser itself; that is not the page's fault.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.faults.append(f"{kind}: {text}")

    # --- what is there ---

    @property
    def session_id(self) -> str:
        until(lambda: "/c/" in self.page.url)
        return self.page.url.rpartition("/c/")[2]

    @property
    def live(self) -> Locator:
        return self.page.locator(".message.assistant.live .text")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message.assistant:not(.live)[data-id]")

    @property
    def questions(self) -> Locator:
        return self.page.locator(".message.user")

    @property
    def notice(self) -> Locator:
        return self.page.get_by_role("group", name="Notice")

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    def copied(self, message: Locator) -> str:
        """Copy a message with its button, and read the clipboard."""
        self.page.bring_to_front()  # a page behind another draws no frames, which clicks wait for
        message.get_by_role("button", name="Copy this message").click()
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def stored_answer(self) -> str:
        """Return the last answer as the server has it."""
        return str(self.server.messages(self.session_id)[-1]["content"])

    # --- what can be done ---

    def open(self, path: str = "/") -> ChatPage:
        self.page.goto(self.server.url + path)
        return self

    def send(self, prompt: str) -> None:
        self.page.get_by_label("Your message").fill(prompt)
        self.page.get_by_label("Your message").press("Enter")

    def wait_for_words(self, characters: int) -> str:
        """Wait until so much of the reply is shown, and return it."""
        return str(until(lambda: (text := self.shown(self.live)) if len(self.shown(self.live)) >= characters else ""))

    def shown(self, place: Locator) -> str:
        return str(place.inner_text()) if place.count() else ""

    def wait_for_answers(self, count: int) -> Locator:
        """Wait until there are so many answers, and no reply is under way; return the last of them."""
        expect(self.answers).to_have_count(count)
        expect(self.live).to_have_count(0)
        return self.answers.last

    def ask(self, prompt: str, answers: int = 1) -> Locator:
        self.send(prompt)
        return self.wait_for_answers(answers)

    def branch(self, message: Locator) -> str:
        return str(message.locator(".branches > span").inner_text())


Tab: TypeAlias = Callable[..., ChatPage]
"""Opens a tab: of the module's demo, or of another one, in another browser."""


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    options.setdefault("viewport", {"width": 1280, "height": 800})
    context = browser.new_context(reduced_motion="reduce", **options)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    return context
