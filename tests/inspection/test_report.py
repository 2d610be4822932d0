"""The report is one complete HTML page that loads and executes nothing."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import wave
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s4signal import S4Classifier, S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.inspection import SaliencyDisplay
from s4signal.inspection.report import Evaluation, picture, sound_url, write_report
from s4signal.inspection.scores import predictions_of
from s4signal.signals import Signal

pytest.importorskip("matplotlib")

__all__: list[str] = []

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Parses a page into its tags, the addresses that they load, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attributes if name in ("src", "href", "data", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def trace(case: Signal) -> str:
    """Draw a case as a report does."""
    return picture(lambda ax: SaliencyDisplay(case=case, edges=[0, 1], importance=[1]).plot(ax=ax))


def cases(n: int, *, n_channels: int = 2, sfreq: float = 100.0, n_times: int = 200, source: str = "") -> Signals:
    rng = np.random.default_rng(0)
    waves = [np.sin(np.arange(n_times) * (0.2 if i % 2 else 0.6)) for i in range(n)]
    data = [0.3 * (wave + 0.5 * rng.standard_normal((n_channels, n_times))) for wave in waves]
    return Signals([Signal(x, sfreq=sfreq, source=f"{source}{i}.wav" if source else "") for i, x in enumerate(data)])


def page(path: Path, model: Any, X: Signals, y: Any, **options: Any) -> Page:
    model.save(path / "m.s4")
    groups = np.array([f"{EVIL}{i % 5}" for i in range(len(y))])
    what = Evaluation(
        model=model,
        model_file=path / "m.s4",
        X=X,
        predictions=predictions_of(model, X, np.asarray(y), groups),
        facts={"read": EVIL},
        protocol="held out",
        checks=[(True, "none was seen"), (False, EVIL)],
        **options,
    )
    write_report(path / "report.html", what)
    return Page((path / "report.html").read_text("utf-8"))


def test_report_executes_no_data_and_loads_nothing(tmp_path: Path) -> None:
    X, y = cases(20, source=f"x/{EVIL}"), [f"{EVIL}{i % 2}" for i in range(20)]
    seen = page(tmp_path, S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, y), X, y)
    assert not {"script", "iframe", "object", "link", "base", "form"} & set(seen.tags)
    assert seen.handlers == []
    assert {address.split(":")[0] for address in seen.addresses} == {"data"}
    assert seen.text.count(EVIL) > 10  # as text: group, classes, facts, checks
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (tmp_path / "report.html").read_text("utf-8"))
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]


def test_report_of_a_classifier_is_complete(tmp_path: Path) -> None:
    X, y = cases(20), ["slow", "fast"] * 10
    model = S4Classifier(d_model=4, d_state=4, n_layers=2, max_epochs=2, random_state=0).fit(X, y)
    seen = page(tmp_path, model, X, y, curve=[(0.5, 8, 0.6), (0.5, 8, 0.7), (1.0, 16, 0.8)])
    for text in ("accuracy", "Confusion", "By class", "By group", "Learning curve", "Training of the model", "Modes"):
        assert text in seen.text
    for text in ("Frequency response", "Worst cases", "Best cases", "SHA-256", "torch", "none was seen"):
        assert text in seen.text
    images = [a for a in seen.addresses if a.startswith("data:image/svg+xml;base64,")]
    assert len(images) == 4 + 8  # curves, coverage, and the traces of four worst and four best cases
    assert b"<script" not in b"".join(base64.b64decode(image.split(",")[1]) for image in images)
    assert seen.tags.count("input") == 8  # to enlarge a trace


def test_report_of_a_regressor_contains_errors(tmp_path: Path) -> None:
    X, y = cases(20), np.arange(20) % 2 + 0.1 * np.arange(20)
    seen = page(tmp_path, S4RidgeRegressor(n_oscillators=16, random_state=0).fit(X, y), X, y)
    for text in ("root mean square error", "R²", "mean absolute error", "True values over predictions"):
        assert text in seen.text
    assert "Confusion" not in seen.text


@pytest.mark.parametrize("sfreq", [8000, 44100])
def test_sound_is_embedded_as_wav_of_at_most_eight_seconds(sfreq: int) -> None:
    tone = 0.01 * np.sin(2 * np.pi * 440 * np.arange(10 * sfreq) / sfreq)
    content = base64.b64decode(sound_url(Signal(tone, sfreq=sfreq)).removeprefix("data:audio/wav;base64,"))
    with wave.open(io.BytesIO(content)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        assert (file.getnchannels(), file.getframerate()) == (1, min(sfreq, 16000))
    assert len(samples) == 8 * min(sfreq, 16000)  # no more than eight seconds
    assert 0.85 < np.abs(samples).max() < 0.95
    strongest = np.argmax(np.abs(np.fft.rfft(samples))) / 8
    assert abs(strongest - 440) < 1


def test_traces_show_the_importance_for_the_true_class(tmp_path: Path) -> None:
    X, y = cases(20), np.array(["slow", "fast"] * 10)
    seen = page(tmp_path, S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, y), X, y[::-1])
    numbers = [int(number) for number in re.findall(r"case (\d+)", seen.text)]
    traces = [base64.b64decode(a.split(",")[1]) for a in seen.addresses if a.startswith("data:image")][-8:]
    for number, drawn in zip(numbers, traces, strict=True):
        assert f"Decrease of log odds of {y[::-1][number]}".encode() in drawn


def test_report_of_audio_contains_players(tmp_path: Path) -> None:
    X, y = cases(12, n_channels=1, sfreq=16000.0, n_times=16000), ["slow", "fast"] * 6
    seen = page(tmp_path, S4RidgeClassifier(n_oscillators=8, random_state=0).fit(X, y), X, y)
    assert seen.tags.count("audio") == 8
    assert (tmp_path / "report.html").stat().st_size < 10e6  # for any number of cases


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
document.title = JSON.stringify({n_images: page.images.length, width: root.clientWidth, content: root.scrollWidth,
blank: [...page.images].filter(image => !image.naturalWidth).length})"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [400, 1400])
def test_browser_shows_all_images_without_horizontal_scrolling(tmp_path: Path, width: int) -> None:
    X, y = cases(20, source="a_rather_long_name_of_a_recording_" * 3), [f"a class called {i % 2}" for i in range(20)]
    page(tmp_path, S4RidgeClassifier(n_oscillators=16, random_state=0).fit(X, y), X, y)
    frame = f"<iframe src=report.html style='width:{width}px;height:900px' onload='{MEASURE}'></iframe>"
    (tmp_path / "frame.html").write_text(frame)
    address = (tmp_path / "frame.html").as_uri()
    options = [f"--user-data-dir={tmp_path}/browser", "--allow-file-access-from-files", "--window-size=1500,1000"]
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", *options, "--dump-dom", address]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = json.loads(html.unescape(re.search("<title>(.*)</title>", seen)[1]))
    assert found["n_images"] > 8
    assert found["blank"] == 0
    assert width - 20 <= found["content"] == found["width"] <= width


def test_traces_are_drawn_with_missing_samples_and_irregular_times() -> None:
    data = np.random.default_rng(0).standard_normal((8, 5000))
    data[0, 100:200] = np.nan
    for case in (Signal(data, sfreq=100.0), Signal(data, times=np.sort(np.random.default_rng(1).uniform(0, 9, 5000)))):
        content = base64.b64decode(trace(case).split(",")[1])
        assert len(content) < 300_000
        assert b"channel 5" in content
        assert b"channel 6" not in content  # at most six channels are drawn


def test_channel_names_are_not_interpreted_and_empty_channels_are_drawn() -> None:
    data = np.stack([np.full(50, np.nan), np.arange(50.0)])
    content = base64.b64decode(trace(Signal(data, sfreq=100.0, ch_names=("$\\frac$", "<script>"))).split(",")[1])
    assert b"$\\frac$" in content
    assert b"<script>" not in content
    assert b"&lt;script&gt;" in content
