"""The flame graph page in a real browser: what it draws, how it is moved about in, and that it keeps to itself."""

import gzip
import json
import os
import random
import re
import shutil
import subprocess

import pytest
from conftest import TARGETS, TOOL, Target, Tool
from made_profile import number, part
from sampled_profile import Frame, Sample, write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
             "--disable-sync --disable-dev-shm-usage --window-size=1400,900 --force-prefers-reduced-motion").split()
TYPES = [("samples", "count"), ("cpu", "nanoseconds")]


class Page:
    """One page in the browser, and what it says of itself."""

    def __init__(self, driver, path):
        self.driver, self.path = driver, path
        driver.get_log("browser")
        driver.get_log("performance")
        driver.get("file://" + str(path))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def returns(self, expression, *arguments):
        return self.run("return " + expression, *arguments)

    def drawn(self):
        """{function: width of all its frames as a share of the canvas}."""
        self.run("draw()")
        frames = self.returns("drawn.map((d) => [nodeName(d.node), d.w / scroll.clientWidth, d.y])")
        widths = {}
        for name, width, _ in frames:
            widths[name] = widths.get(name, 0) + width
        return widths

    def keys(self, text):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(text).perform()

    def click(self, name):
        """On the frame of this name, with the mouse."""
        from selenium.webdriver.common.action_chains import ActionChains
        self.run("draw()")
        x, y, width, height = self.returns(
            "(() => { const d = drawn.find((d) => nodeName(d.node) === arguments[0]); return [d.x + d.w / 2, d.y + 9, scroll.clientWidth, scroll.clientHeight]; })()", name)
        canvas = self.driver.find_element("id", "canvas")
        ActionChains(self.driver).move_to_element_with_offset(canvas, x - width / 2, y - height / 2).click().perform()

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses that the page asked for, but itself and what it carries in itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url != "file://" + str(self.path) and not url.startswith("data:")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not CHROMIUM or not DRIVER:
        pytest.skip("Chromium or its driver is not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def open_page(driver, tmp_path):
    """Makes the page of a profile, or of the difference to one before, and opens it; it must have nothing to complain of, ever."""
    pages = []

    def open_it(profile, before=None):
        out = tmp_path / f"page{len(pages)}.html"
        subprocess.run([TOOL, "report", profile, *(["--diff", before] if before else []), "-o", out], check=True, capture_output=True)
        pages.append(Page(driver, out))
        return pages[-1]

    yield open_it
    for page in pages[-1:]:
        assert page.complaints() == []
        assert page.requests() == []


def made(tmp_path, name="made.pb.gz", samples=None, **more):
    frames = {text: Frame(text, module=module) for text, module in
              [("main", "/bin/app"), ("hot", "/bin/app"), ("cold", "/bin/app"), ("malloc", "/lib/libc.so.6"), ("read", "/lib/libc.so.6")]}
    rows = samples or [(("main", "hot"), 50, "worker", 11, "running"), (("main", "hot", "malloc"), 20, "worker", 12, "running"),
                       (("main", "cold", "malloc"), 20, "main", 10, "sleeping"), (("main", "cold", "read"), 10, "main", 10, "sleeping")]
    return write(tmp_path / name, TYPES, [
        Sample(tuple(frames.get(frame, frame) for frame in stack), (1, value * 1000000), (("thread", thread), ("tid", tid), ("state", state)))
        for stack, value, thread, tid, state in rows], duration_ns=10**9, **more)


def test_a_recorded_profile(open_page, tmp_path):
    """Widths are what the JSON of the same profile says, summed up here."""
    target = Target([os.path.join(TARGETS, "split_30_70")])
    target.await_line("ready")
    path = str(tmp_path / "cpu.pb.gz")
    Tool(str(tmp_path)).record(target.pid, "-r", 199, duration="1s", output=path)
    target.close()
    data = json.loads(subprocess.run([TOOL, "report", path, "-f", "json"], check=True, capture_output=True).stdout)
    total, sums = 0, {}
    for sample in data["samples"]:
        value = sample["values"][data["default_type"]]
        total += value
        for name in {data["frames"][number]["function"] for number in sample["stack"]}:
            sums[name] = sums.get(name, 0) + value
    page = open_page(path)
    drawn = page.drawn()
    assert "flame graph" in page.driver.title and "split_30_70" in page.driver.title
    shown = {name: value / total for name, value in sums.items() if value / total > 0.005}
    assert len(shown) > 3
    assert {name: pytest.approx(share, abs=0.002) for name, share in shown.items()} == {name: drawn[name] for name in shown}


def test_zoom(open_page, tmp_path):
    page = open_page(made(tmp_path))
    assert page.drawn() == pytest.approx({"all": 1, "main": 1, "hot": 0.7, "cold": 0.3, "malloc": 0.4, "read": 0.1}, abs=0.001)
    page.click("cold")
    assert page.drawn() == pytest.approx({"all": 1, "main": 1, "cold": 1, "malloc": 2 / 3, "read": 1 / 3}, abs=0.001)
    assert page.driver.find_element("id", "path").text == "all › main › cold"
    page.keys("r")
    assert page.drawn()["hot"] == pytest.approx(0.7, abs=0.001)
    assert page.complaints() == [] and page.requests() == []


def test_search(open_page, tmp_path):
    page = open_page(made(tmp_path))
    for query, share in (("malloc", "40.0 %"), ("^(hot|read)$", "80.0 %"), ("main|hot", "100.0 %"), ("nothing", "0.00 %"), ("MALLOC", "0.00 %")):
        search = page.driver.find_element("id", "search")
        search.clear()
        search.send_keys(query)
        assert page.driver.find_element("id", "matched").text == share + " matched"
    search.clear()
    search.send_keys("(")
    assert page.driver.find_element("id", "matched").text == "not a regular expression"


def test_threads_states_and_kinds(open_page, tmp_path):
    page = open_page(made(tmp_path))
    page.driver.find_element("css selector", "#threads summary").click()
    labels = page.driver.find_elements("css selector", "#threads label")
    assert [re.sub(r"\s+", " ", label.text) for label in labels] == ["worker ×2 70.0 %", "main 30.0 %"]
    labels[0].click()
    assert page.drawn() == pytest.approx({"all": 1, "main": 1, "cold": 1, "malloc": 2 / 3, "read": 1 / 3}, abs=0.001)
    labels[0].click()
    page.keys("\ue00c")
    page.driver.find_element("css selector", "#states summary").click()
    page.driver.find_elements("css selector", "#states label")[1].click()
    assert page.drawn() == pytest.approx({"all": 1, "main": 1, "hot": 1, "malloc": 2 / 7}, abs=0.001)
    page.driver.find_elements("css selector", "#states label")[1].click()
    page.run("document.getElementById('type').value = 0; document.getElementById('type').onchange({target: document.getElementById('type')})")
    assert page.drawn()["hot"] == pytest.approx(0.5, abs=0.001), "each stack is one sample"


def test_table(open_page, tmp_path):
    page = open_page(made(tmp_path, samples=[(("main", "hot", "main", "hot"), 60, "main", 1, "running"), (("main", "cold"), 40, "main", 1, "running")]))

    def rows():
        return [tuple(cell.text for cell in row.find_elements("tag name", "td")) for row in page.driver.find_elements("css selector", "#rows tr")]

    # A function that is in a stack twice has its time once.
    assert rows() == [("60.0 %", "60.0 %", "hot"), ("40.0 %", "40.0 %", "cold"), ("0.00 %", "100.0 %", "main")]
    page.driver.find_element("css selector", "th[data-key=total]").click()
    assert [row[2] for row in rows()] == ["main", "hot", "cold"]
    page.driver.find_elements("css selector", "#rows tr")[2].click()
    assert page.driver.find_element("id", "matched").text == "40.0 % matched"


def test_order_colours_and_keys(open_page, tmp_path):
    page = open_page(made(tmp_path))
    page.driver.find_element("id", "scroll").click()
    page.keys("r")

    def heights():
        page.run("draw()")
        return dict(page.returns("drawn.map((d) => [nodeName(d.node), d.y])"))

    flame = heights()
    assert flame["all"] > flame["main"] > flame["hot"], "the root stands on the ground"
    page.keys("i")
    icicle = heights()
    assert icicle["all"] < icicle["main"] < icicle["hot"]
    dark = page.returns("document.documentElement.classList.contains('dark')")
    page.keys("d")
    assert page.returns("document.documentElement.classList.contains('dark')") != dark
    colours = {page.returns("state.colour")}
    for _ in range(2):
        page.keys("c")
        colours.add(page.returns("state.colour"))
    assert colours == {"module", "state", "function"}
    page.keys("\ue015\ue015\ue015")  # down: all, main, the larger of its callees
    assert page.returns("nodeName(state.selected)") == "hot"
    page.keys("\ue014")
    page.run("document.getElementById('scroll').focus()")
    page.keys("\ue007")
    assert page.returns("nodeName(state.zoom)") == "hot"
    page.keys("\ue00c")
    assert page.returns("state.zoom === ROOT")
    page.keys("?")
    assert "search" in page.driver.find_element("id", "text").text


def test_names_are_text(open_page, tmp_path):
    """They come from whoever wrote the program."""
    evil = ["</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 1'>", "\"';alert(1)//", "\u2028 \u2029", "a<b>::c&amp;", "__proto__"]
    names = [(("main", name), 10, name, 1, name) for name in evil]
    page = open_page(made(tmp_path, samples=names, comments=("</script><b>",)))
    drawn = page.drawn()
    assert set(evil) <= set(drawn) and page.returns("window.hacked === undefined")
    page.driver.find_element("id", "about").click()
    assert "</script><b>" in page.driver.find_element("id", "text").text
    assert page.returns("document.images.length") == 0


def test_a_differential_flame_graph(open_page, tmp_path):
    before = made(tmp_path, "before.pb.gz")
    now = made(tmp_path, "now.pb.gz", samples=[(("main", "hot"), 20, "worker", 11, "running"), (("main", "cold", "read"), 60, "main", 10, "running")])
    page = open_page(now, before)
    assert page.drawn() == pytest.approx({"all": 1, "main": 1, "hot": 0.25, "cold": 0.75, "read": 0.75}, abs=0.001)
    assert page.returns("state.colour") == "change"
    said = page.returns("describe(drawn.find((d) => nodeName(d.node) === 'hot').node).value")
    assert "70.00 % before" in said and "−45.00 points" in said
    red, blue = (page.returns(f"colourOf(drawn.find((d) => nodeName(d.node) === '{name}').node)") for name in ("cold", "hot"))
    assert red.startswith("hsl(8 ") and blue.startswith("hsl(212 ")


def test_a_deep_stack(open_page, tmp_path):
    """No canvas is as tall as 5,000 frames."""
    stack = tuple(f"f{i}" for i in range(5000))
    page = open_page(made(tmp_path, samples=[(stack, 10, "main", 1, "running")]))
    assert "f0" in page.drawn() and page.returns("canvas.height") < 4000
    page.run("scroll.scrollTop = 0")
    assert "f4999" in page.drawn()


def write_many(path, stacks):
    """As sampled_profile.write would, in a tenth of the time: ids by arithmetic, packed."""
    levels, width = 40, 44
    varints = [b"".join(bytes([n & 127 | 128]) if n > 127 else bytes([n]) for n in ([i, i >> 7] if i > 127 else [i])) for i in range(levels * width + 2)]
    texts = ["", "cpu", "nanoseconds", "main", *(f"f{level}_{k}" for level in range(levels) for k in range(width)), "thread", *(f"t{i}" for i in range(50))]
    thread = len(texts) - 51
    message = [part(1, number(1, 1) + number(2, 2)), *(part(6, text.encode()) for text in texts)]
    for i in range(1, levels * width + 2):
        message += [part(4, number(1, i) + part(4, number(1, i))), part(5, number(1, i) + number(2, i + 2))]
    chance = random.Random(1)
    for i in range(stacks):
        ids = [level * width + chance.randrange(3 + level) + 2 for level in range(chance.randint(10, levels))]
        message.append(part(2, part(1, b"".join(varints[at] for at in reversed(ids)) + varints[1]) + part(2, varints[1 + i % 1000]) +
                            part(3, number(1, thread) + number(2, thread + 1 + i % 50))))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"".join(message))
    return path


def test_a_hundred_thousand_stacks(open_page, tmp_path, figure):
    profile = write_many(tmp_path / "large.pb.gz", 100000)
    page = open_page(profile)
    assert page.returns("N") > 1000000 and page.drawn()["main"] == pytest.approx(1, abs=0.001)
    load = page.returns("performance.now()")
    times = page.run("""
        const timed = (run) => { const begin = performance.now(); run(); return performance.now() - begin; };
        const child = children[childStart[children[childStart[ROOT]]]];
        return [timed(draw), timed(() => zoomTo(child)), timed(() => search('f12_3')), timed(() => { state.hiddenThreads.add('t1'); recount(); draw(); })]""")
    assert page.returns("$('matched').textContent").endswith("matched")
    figure("100,000 stacks, {:,} frames: loaded after {:.0f} ms; drawn in {:.0f} ms, zoomed in {:.0f}, searched in {:.0f}, without a thread in {:.0f}".format(
        page.returns("N"), load, *times))
