"""The page in a real browser, from the upload to the download. Everything that a visitor can do is done here."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import av
import pytest

from tests.apps.web.servers import served
from tests.apps.web.standins import FRAMES, Workshop, choice, cut_example

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 300_000
"""Milliseconds: a busy machine is slow, and nothing here is about speed."""
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("gradio", reason='the web app is not installed: pip install "dgafvsr[web]"')
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def visit(browser, address):
    """A page whose every request stays with the server and whose console shows no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page, strayed, errors = context.new_page(), [], []
    page.on(
        "request", lambda each: None if each.url.startswith((address, "data:", "blob:")) else strayed.append(each.url)
    )
    page.on("console", lambda each: errors.append(each.text) if each.type == "error" else None)
    page.on("pageerror", lambda each: errors.append(str(each)))
    page.goto(address)
    yield page
    assert strayed == [], "the page calls somebody else"
    assert errors == []
    context.close()


def upload(page, path, name=None):
    page.wait_for_selector("#upload input[type=file]", state="attached")
    file = path if name is None else {"name": name, "mimeType": "video/mp4", "buffer": path.read_bytes()}
    page.set_input_files("#upload input[type=file]", file)


def wait_for_job(page, state):
    page.wait_for_selector(f"#job .job[data-state={state}]")


def download(page, folder):
    """Name, width, height and frames of the film behind the button."""
    with page.expect_download() as waiting:
        page.click("#download")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return path.name, stream.width, stream.height, sum(1 for _ in container.decode(stream))


def loaded_pictures(page):
    return page.eval_on_selector_all("#pair img", "all => all.map(each => each.naturalWidth)")


def test_from_the_upload_to_the_download_and_over_a_restart(browser, tmp_path):
    clip = cut_example(tmp_path / "my clip.mp4")
    data, hold = tmp_path / "data", tmp_path / "hold"
    with served(data, hold=hold) as address, visit(browser, address) as page:
        upload(page, clip)
        page.wait_for_selector("#film .name")
        facts = page.inner_text("#film")
        assert "my clip.mp4" in facts
        assert "96 x 56 pixels" in facts
        assert "10 frames" in facts

        page.fill("#stop input[type=number]", "0.16")
        page.press("#stop input[type=number]", "Tab")
        page.click("#preview")
        wait_for_job(page, "done")
        page.wait_for_function("[...document.querySelectorAll('#pair img')].every(each => each.naturalWidth == 384)")
        assert len(loaded_pictures(page)) == 2
        page.get_by_role("tab", name="Video").click()
        page.wait_for_function("document.querySelector('video.split')?.videoWidth == 384")
        assert download(page, tmp_path) == ("my_clip_preview_x4.mp4", 384, 224, 4)

        page.fill("#stop input[type=number]", "0.4")
        page.press("#stop input[type=number]", "Tab")
        hold.touch()
        page.click("#full")
        wait_for_job(page, "running")
        page.wait_for_selector("text=/Upscaling · .* of 10 frames/")
        page.reload()
        wait_for_job(page, "running")
        page.click("#cancel")
        wait_for_job(page, "stopped")
        assert page.is_hidden("#download")
        page.click("#resume")
        wait_for_job(page, "running")
        page.wait_for_selector("text=/Upscaling · .* of 10 frames/")
    hold.unlink()
    with served(data) as address, visit(browser, address) as page:
        wait_for_job(page, "stopped")
        assert "server was stopped" in page.inner_text("#job")
        assert page.locator("#gallery button img").count() == 2
        page.click("#resume")
        wait_for_job(page, "done")
        assert download(page, tmp_path) == ("my_clip_x4.mp4", 384, 224, FRAMES)


def test_past_jobs_are_chosen_and_deleted(browser, tmp_path):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path, frames=3)
        for kind in ("preview", "full"):
            shop.until(shop.desk.submit(film.id, kind, choice()), "done")
    with served(tmp_path / "data") as address, visit(browser, address) as page:
        page.wait_for_selector("#job >> text=Upscaling of clip.mp4")
        page.click("#delete")
        page.click("#keep")
        page.locator("#gallery button", has_text="preview").first.click()
        page.wait_for_selector("#job >> text=Preview of clip.mp4")
        page.click("#delete")
        page.click("#really")
        page.wait_for_function("document.querySelectorAll('#gallery button img').length == 1")
    with Workshop(tmp_path / "data") as shop:
        assert [job.kind for job in shop.store.jobs()] == ["full"]


def test_failed_job_starts_over(browser, tmp_path):
    with Workshop(tmp_path / "data") as shop:
        job = shop.desk.submit(shop.film(tmp_path, frames=3).id, "full", choice())
        job = shop.until(job, "done")
        shop.store.save(replace(job, state="failed", message="It was begun with another model; press Start over."))
    with served(tmp_path / "data") as address, visit(browser, address) as page:
        wait_for_job(page, "failed")
        assert page.is_visible("#resume")
        page.click("#anew")
        wait_for_job(page, "done")
        assert page.is_hidden("#anew")
        assert download(page, tmp_path) == ("clip_x4.mp4", 384, 224, 3)


def test_hostile_uploads_get_a_clear_message(browser, tmp_path):
    clip = cut_example(tmp_path / "clip.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    huge = tmp_path / "huge.mp4"
    huge.write_bytes(bytes(1_300_000))
    with served(tmp_path / "data", "--max-upload-mb", "1", "--max-seconds", "0.3") as address:
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        upload(page, text)
        page.wait_for_selector("#notice >> text=text.mp4 is not a video")
        upload(page, clip)
        page.wait_for_selector("#notice >> text=clip.mp4 is longer than allowed")
        short = cut_example(tmp_path / "short.mp4", frames=4)
        upload(page, short, name="../../<img src=x onerror=alert(1)>.mp4")
        page.wait_for_selector("#film .name")
        assert page.locator("#film img").count() == 1, "the name became part of the page"
        assert page.text_content("#notice").strip() == ""
        upload(page, huge)
        page.wait_for_selector("text=/larger than allowed|exceed|maximum/i")
        context.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "data", "huge.mp4", "short.mp4", "text.mp4"]


def test_password_is_asked_for(browser, tmp_path):
    with served(tmp_path / "data", password=PASSWORD) as address:
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("text=password that the server was started with")
        assert page.locator("#upload").count() == 0
        page.get_by_label("username").fill("anybody")
        page.get_by_label("password").fill(PASSWORD)
        page.get_by_role("button", name="Login").click()
        page.wait_for_selector("#upload")
        context.close()
