"""Small files of every format, written without the readers under test."""

from pathlib import Path

import numpy as np

SFREQ = 100.0
N_TIMES = 400
NAMES = ("Fz", "Oz")
DATA = np.random.default_rng(0).uniform(-90e-6, 90e-6, (2, N_TIMES))  # volts


def write_edf(path: Path) -> Path:
    """EDF: 4 records of 1 s, microvolts, 16 bits over -100…100."""
    n = len(NAMES)
    fields = [
        ("0", 8), ("patient", 80), ("recording", 80), ("01.01.20", 8), ("00.00.00", 8), (str(256 * (n + 1)), 8),
        ("", 44), ("4", 8), ("1", 8), (str(n), 4),
        *[(name, 16) for name in NAMES], *[("", 80)] * n, *[("uV", 8)] * n, *[("-100", 8)] * n, *[("100", 8)] * n,
        *[("-32768", 8)] * n, *[("32767", 8)] * n, *[("", 80)] * n, *[(str(int(SFREQ)), 8)] * n, *[("", 32)] * n,
    ]  # fmt: skip
    digital = np.round((DATA * 1e6 + 100) / 200 * 65535 - 32768).astype("<i2")
    records = digital.reshape(n, 4, int(SFREQ)).transpose(1, 0, 2)
    path.write_bytes("".join(text.ljust(width) for text, width in fields).encode("ascii") + records.tobytes())
    return path


def write_edf_signals(path: Path, signals: dict[str, tuple[str, int]], n_records: int = 4) -> dict[str, np.ndarray]:
    """EDF of named signals, each with its unit and rate, records of 1 s; return the values in the units of the file."""
    n, rng = len(signals), np.random.default_rng(0)
    units, rates = zip(*signals.values(), strict=True)
    fields = [
        ("0", 8), ("patient", 80), ("recording", 80), ("01.01.20", 8), ("00.00.00", 8), (str(256 * (n + 1)), 8),
        ("", 44), (str(n_records), 8), ("1", 8), (str(n), 4),
        *[(name, 16) for name in signals], *[("", 80)] * n, *[(unit, 8) for unit in units], *[("-100", 8)] * n,
        *[("100", 8)] * n, *[("-32768", 8)] * n, *[("32767", 8)] * n, *[("", 80)] * n,
        *[(str(rate), 8) for rate in rates], *[("", 32)] * n,
    ]  # fmt: skip
    # Smooth enough for accurate resampling.
    digital = [np.cumsum(rng.integers(-9, 10, n_records * rate)).astype("<i2") for rate in rates]
    records = [
        part[i * rate : (i + 1) * rate].tobytes()
        for i in range(n_records)
        for part, rate in zip(digital, rates, strict=True)
    ]
    path.write_bytes("".join(text.ljust(width) for text, width in fields).encode("latin-1") + b"".join(records))
    values = [(counts.astype(float) + 32768) / 65535 * 200 - 100 for counts in digital]
    return dict(zip(signals, values, strict=True))


def write_brainvision(path: Path) -> Path:
    """BrainVision: header, markers and float32 microvolts."""
    path.with_suffix(".eeg").write_bytes((DATA.T * 1e6).astype("<f4").tobytes())
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n[Marker Infos]\nMk1=Stimulus,S  1,101,1,0\nMk2=Stimulus,S  2,351,1,0\n"
    )
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=2\nSamplingInterval={1e6 / SFREQ:.0f}\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        f"[Channel Infos]\nCh1={NAMES[0]},,1,µV\nCh2={NAMES[1]},,1,µV\n",
        encoding="utf-8",
    )
    return path


def write_fif(path: Path) -> Path:
    """FIF, with a stimulus channel: code 1 at 1 s, code 2 at 3 s."""
    import mne

    stimulus = np.zeros((1, N_TIMES))
    stimulus[0, [100, 300]] = [1, 2]
    info = mne.create_info([*NAMES, "STI"], SFREQ, ["eeg", "eeg", "stim"])
    mne.io.RawArray(np.vstack([DATA, stimulus]), info, verbose="error").save(path, fmt="double", verbose="error")
    return path


def write_audio(path: Path) -> Path:
    """Sound of one channel; the file extension gives the format."""
    import soundfile

    soundfile.write(path, np.tile(DATA[0] * 5e3, 40), 16000)
    return path


def write_ts(path: Path) -> Path:
    """One case of two dimensions, of class a."""
    values = ":".join(",".join(map(repr, channel.tolist())) for channel in DATA)
    path.write_text(f"#comment\n@problemName x\n@timeStamps false\n@classLabel true a b\n@data\n{values}:a\n")
    return path


def write_csv(path: Path) -> Path:
    """One row per sample, with times in seconds."""
    rows = [f"{i / SFREQ!r},{a!r},{b!r}" for i, (a, b) in enumerate(DATA.T.tolist())]
    path.write_text("\n".join([f"time,{','.join(NAMES)}", *rows]) + "\n")
    return path
