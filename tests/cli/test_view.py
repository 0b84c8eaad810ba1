"""The local page: what it answers, whom it refuses, and that a browser loads it without a request to anywhere else."""

import base64
import io
import json
import shutil
import threading
import urllib.error
import urllib.request
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from ecgtwin.cli.view.server import serve
from ecgtwin.cli.view.work import KEPT, Desk
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.text.table import StatementTable
from ecgtwin.twin.twin import ECGTwin

from ..twin.tiny import model

RBBB = "complete right bundle branch block"


@pytest.fixture(scope="module")
def desk():
    return Desk(ECGTwin.from_pretrained(device="cpu"), simulate(Person.draw(50), "sinus rhythm", 70, seed=1))


@pytest.fixture(scope="module")
def server(desk):
    running = serve(desk)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def ask(address, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=600) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def files_of(path):
    return [{"name": p.name, "content": base64.b64encode(p.read_bytes()).decode()} for p in path]


def test_the_page_knows_statements_and_the_first_record(server):
    status, text, headers = ask(server + "/")
    assert status == 200 and RBBB in text.decode() and "simulated-50" in text.decode()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(server + "/nothing")[0] == 404


def test_from_an_upload_to_twins_and_files(server, tmp_path):
    ecg = simulate(Person.draw(51), "sinus rhythm", 70, seed=1)
    path = ecg.write(tmp_path / "mine.hea")
    status, text, _ = ask(server + "/record", {"files": files_of([path, path.with_suffix(".dat")])})
    record = json.loads(text)
    assert status == 200 and record["name"] == "mine" and "70/min" in record["words"]
    assert record["reports"] == ["normal ECG", "sinus rhythm"]
    wish = {
        "key": record["key"],
        "reports": [RBBB],
        "own": record["reports"],
        "heart_rate": 90,
        "age": 70,
        "n": 3,
        "steps": 10,
        "seed": 4,
    }
    status, text, _ = ask(server + "/twins", wish)
    found = json.loads(text)
    assert (
        status == 200 and found["n"] == 3 and "70 years" in found["asked"] and "QRS at least 120 ms" in found["rules"]
    )
    assert json.loads(ask(f"{server}/sheet?key={found['key']}&k=2")[1])["sheet"].startswith("<div class=scroll")
    place = f"{server}/file?key={found['key']}&k=1&kind="
    with zipfile.ZipFile(io.BytesIO(ask(place + "wfdb")[1])) as archive:
        archive.extractall(tmp_path / "got")
    (tmp_path / "got.csv").write_bytes(ask(place + "csv")[1])
    one, two = ECG.read(tmp_path / "got" / "twin_2.hea"), ECG.read(tmp_path / "got.csv")
    assert one.synthetic and two.synthetic and one.age == 70 and abs(one.signal - two.signal).max() < 2e-3
    assert ask(place + "pdf")[1].startswith(b"%PDF") and ask(place + "dicom")[1][128:132] == b"DICM"
    assert b"Do not believe" in ask(place + "html")[1] or b"What changed" in ask(place + "html")[1]
    assert len(json.loads(ask(place + "json")[1])["validity"]) == 3
    again = json.loads(ask(server + "/twins", wish)[1])
    assert again["sheet"] and again["changes"] == found["changes"] and again["key"] != found["key"]
    other = json.loads(ask(server + "/twins", wish | {"guidance": 3.0})[1])
    assert other["changes"] != found["changes"]


def test_what_cannot_be_done_is_a_sentence(server, desk, tmp_path):
    for body, words in (
        ({"files": [{"name": "a.pdf", "content": base64.b64encode(b"%PDF").decode()}]}, "muse"),
        ({"files": [{"name": "../../etc/a.dat", "content": "AAAA"}]}, "header"),
        ({"files": [{"name": "a.csv", "content": "%%"}]}, "damaged"),
        ({"files": []}, "no file"),
        ({}, "damaged"),
    ):
        status, text, _ = ask(server + "/record", body)
        assert status == 400 and words in json.loads(text)["error"] and str(tmp_path) not in text.decode()
    for change, words in (
        ({"key": "x"}, "no longer kept"),
        ({"reports": ["nonsense"]}, "nonsense"),
        ({"heart_rate": 900}, "900"),
        ({"n": 99}, "1 to 32"),
        ({"n": []}, "int"),
        ({"reports": [], "sex": None, "age": None}, None),
    ):
        status, text, _ = ask(server + "/twins", {"key": desk.first, "reports": [RBBB], "n": 1, "steps": 1} | change)
        assert (status == 400 and words in json.loads(text)["error"]) if words else status == 200
    assert ask(f"{server}/file?key=x&kind=pdf")[0] == 400


def test_other_sites_and_names_are_refused(server):
    assert ask(server + "/", Origin="http://example.org")[0] == 403
    assert ask(server + "/", Host="example.org")[0] == 403
    assert ask(server + "/twins", {}, Origin="https://example.org")[0] == 403


def test_the_oldest_results_go_first():
    desk = Desk(SimpleNamespace())
    keys = [desk.keep(desk.results, k) for k in range(KEPT + 1)]
    assert desk.take(desk.results, keys[-1]) == KEPT
    with pytest.raises(ValueError, match="no longer kept"):
        desk.take(desk.results, keys[0])


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver on this computer")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "window-size=1300,1000",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def test_in_a_browser_by_keyboard_with_no_request_elsewhere(server, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    def at(name):
        return browser.find_element(By.ID, name)

    browser.get(server + "/")
    assert "simulated-50" in at("about").text and at("record").find_element(By.TAG_NAME, "img").is_displayed()
    at("search").send_keys("right bundle")
    boxes = at("statements").find_elements(By.TAG_NAME, "label")
    assert boxes and all("right bundle" in box.text for box in boxes)
    box = next(b for b in boxes if b.text.startswith(RBBB)).find_element(By.TAG_NAME, "input")
    box.send_keys(Keys.SPACE)
    assert RBBB in at("chosen").text
    at("setrate").send_keys(Keys.SPACE)
    before = at("rateout").text
    at("heart_rate").send_keys(Keys.ARROW_RIGHT)
    assert at("rateout").text != before
    at("n").send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    at("steps").send_keys(Keys.HOME)
    at("go").send_keys(Keys.ENTER)
    WebDriverWait(browser, 120).until(lambda _: at("answer").is_displayed())
    assert RBBB in at("asked").text and "QRS duration" in at("changes").text and "2 twins drawn" in at("status").text
    first = at("sheet").get_attribute("innerHTML")
    at("which").send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(browser, 30).until(lambda _: at("sheet").get_attribute("innerHTML") != first)
    browser.set_window_size(500, 900)  # 400 % zoom of a screen leaves about 320 CSS pixels
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth + 1")
    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if json.loads(entry["message"])["message"]["method"] == "Network.requestWillBeSent"
    ]
    assert asked and all(url.startswith((server, "data:", "blob:")) for url in asked), asked
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def quick():
    """A server with an untrained model: what the page does, not what it draws."""
    running = serve(Desk(model(), simulate(Person.draw(50), "sinus rhythm", 70, seed=1)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


SET = """
const [id, value] = arguments, box = document.getElementById(id);
if (["checkbox", "radio"].includes(box.type)) box.checked = true; else box.value = value;
for (const kind of ["input", "change"]) box.dispatchEvent(new Event(kind, {bubbles: true}));
"""
LISTEN = """
window.asked = []; const real = window.fetch;
const refuse = how => { asked.push(how.body); return Promise.reject(new Error("not now")); };
window.fetch = (path, how) => path === "/twins" ? refuse(how) : real(path, how);
"""
CONTROLS = {
    "setrate": (None, "heart_rate"), "heart_rate": ("120", "heart_rate"), "setage": (None, "age"), "age": ("33", "age"),
    "sex": ("female", "sex"), "keep": (None, "keep"), "strength": ("0.5", "strength"), "new": (None, "keep"),
    "n": ("3", "n"), "guidance": ("4", "guidance"), "base_guidance": ("0.5", "base_guidance"), "steps": ("35", "steps"),
    "seed": ("9", "seed"), "own": ("atrial fibrillation", "own"),
}  # fmt: skip
"""Control -> what it is set to, and what of the request it changes."""


def test_every_control_changes_what_is_asked(quick, browser):
    from selenium.webdriver.common.by import By

    browser.get(quick + "/")
    browser.execute_script(LISTEN)
    there = {one.get_attribute("id") for one in browser.find_elements(By.CSS_SELECTOR, "form input, form select")}
    assert {name for name in there if name} - {"files", "search"} == set(CONTROLS)
    press = "document.getElementById('go').click(); return JSON.parse(asked.at(-1));"
    browser.execute_script(SET, "age", "34")  # asked for once its box is checked
    before = browser.execute_script(press)
    for name, (value, field) in CONTROLS.items():
        browser.execute_script(SET, name, value)
        after = browser.execute_script(press)
        assert [k for k in after if after[k] != before.get(k)] == [field], name
        before = after
    box = browser.find_element(By.CSS_SELECTOR, "#statements input")
    browser.execute_script("arguments[0].click()", box)
    assert len(browser.execute_script(press)["reports"]) == 1
    assert "not now" in browser.find_element(By.ID, "error").text


class Atrial:
    """An encoder by letters, to which words of other letters mean nothing."""

    name, width, fingerprint = "letters", 26, "letters"

    def encode(self, statements):
        return np.array([[t.count(chr(97 + k)) for k in range(26)] for t in statements], np.float32)


def test_free_text_is_shown_by_meaning_and_taken_by_a_click_alone(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    one = model()
    table = StatementTable.build(one.statements, Atrial())
    desk = Desk(SimpleNamespace(table=table, statements=one.statements, config=one.config, parts=one.parts,
                                weights_hash=one.weights_hash), encoder=Atrial())  # fmt: skip
    running = serve(desk)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    browser.get(f"http://127.0.0.1:{running.server_address[1]}/")
    meaning = browser.find_element(By.ID, "meaning")
    assert not meaning.is_displayed()
    browser.find_element(By.ID, "search").send_keys("the atria fibrillate")
    meaning.click()
    WebDriverWait(browser, 30).until(lambda _: not meaning.is_displayed())
    boxes = browser.find_elements(By.CSS_SELECTOR, "#statements label")
    assert "cosine 0." in boxes[0].text and browser.find_element(By.ID, "chosen").text == "None chosen."
    boxes[0].find_element(By.TAG_NAME, "input").click()
    assert boxes[0].text.splitlines()[0] in browser.find_element(By.ID, "chosen").text
    status, text, _ = ask(f"http://127.0.0.1:{running.server_address[1]}/nearest", {"text": " "})
    assert status == 400 and "empty" in text.decode()
    running.shutdown()
    running.server_close()


def draw_in(browser, words, **values):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    for name, value in ({"n": "1", "steps": "5"} | values).items():
        browser.execute_script(SET, name, value)
    for label in browser.find_elements(By.CSS_SELECTOR, "#statements label"):
        if words in label.text:
            label.find_element(By.TAG_NAME, "input").click()
    browser.execute_script("document.getElementById('go').click()")
    WebDriverWait(browser, 300).until(lambda _: browser.find_element(By.ID, "answer").is_displayed())


def test_two_tabs_have_their_own_results_at_400_percent(quick, browser):
    from selenium.webdriver.common.by import By

    first = browser.current_window_handle
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": False})  # fmt: skip
    browser.get(quick + "/")
    draw_in(browser, "right bundle branch block", keep=None, strength="0.5")
    inside = "return [document.documentElement.scrollWidth, window.innerWidth]"
    width, window = browser.execute_script(inside)
    assert width <= window == 320  # nothing lies beyond the edge
    asked, link = browser.find_element(By.ID, "asked").text, browser.find_element(By.CSS_SELECTOR, "#files_out a")
    mine = link.get_attribute("href")
    assert "right bundle" in asked and "Identity score" in browser.find_element(By.ID, "nearness").text
    browser.switch_to.new_window("tab")
    browser.get(quick + "/")
    draw_in(browser, "atrial fibrillation", setrate=None, heart_rate="120")
    other = browser.find_element(By.CSS_SELECTOR, "#files_out a").get_attribute("href")
    assert "atrial fibrillation" in browser.find_element(By.ID, "asked").text and other != mine
    browser.close()
    browser.switch_to.window(first)
    assert browser.find_element(By.ID, "asked").text == asked and link.get_attribute("href") == mine
    one, two = (json.loads(ask(href.replace("kind=wfdb", "kind=json"))[1]) for href in (mine, other))
    assert "right bundle" in one["asked_for"] and "fibrillation" in two["asked_for"] and "120/min" in two["asked_for"]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
