"""Write what onnxruntime computes with models that are published in packages on PyPI.

    python published_models.py --output DIRECTORY

`case_files.py` describes the files. Each model is computed at two sizes, with inputs like those that its package
makes: a voice, a photograph, the bytes of a file.
"""

import argparse
import pathlib
import sysconfig

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

from case_files import CaseFiles

PACKAGES = pathlib.Path(sysconfig.get_paths()["purelib"])

# The allowed difference of a number: relative to it, and absolute for what is about one, such as probabilities.
# Other orders of the sums in a hundred layers stay below a tenth of it.
RELATIVE = 1e-3
ABSOLUTE = 2e-4

# Weights of 16 bits, whose products may be rounded to 16 bits or not.
ABSOLUTE_HALF = 5e-3

onnxruntime.set_default_logger_severity(3)


def voice(seconds, rate=16000):
    """A voiced sound with pauses, between -1 and 1."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    harmonics = sum(np.sin(number * phase) / number for number in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1)
    noise = np.random.default_rng(1).normal(0, 0.01, time.shape)
    return (0.3 * harmonics * loudness + noise).astype(np.float32)


def photograph(height, width, seed=0):
    """An image of three channels between 0 and 1: a gradient, bright and dark boxes, and noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    image = np.stack([rows, columns, 1 - rows])
    for _ in range(12):
        top, left = random.integers(0, height), random.integers(0, width)
        image[:, top : top + height // 5, left : left + width // 8] = random.random((3, 1, 1))
    return np.clip(image + random.normal(0, 0.02, image.shape), 0, 1).astype(np.float32)


def silero(batch, samples, rate=16000):
    """The voice activity detectors: frames of a voice, and the state of a new stream."""
    speech = voice(batch * samples / rate + 0.2, rate)[800 : 800 + batch * samples].reshape(batch, samples)
    return {"input": speech, "state": np.zeros((2, batch, 128), np.float32), "sr": np.array(rate, np.int64)}


def written(height, width, seed=0):
    """A page with lines of text as tall as half of a line, between 0 and 1."""
    page = Image.new("RGB", (width, height), (240, 235, 220))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=26)
    for line, top in enumerate(range(8, height - 24, 48)):
        draw.text((8, top), f"Model {37 * (seed + line) + 128}", fill=(20, 20, 40), font=font)
    return np.asarray(page, np.float32).transpose(2, 0, 1) / 255


def text_images(width, batch=1):
    """Lines of text as PP-OCR sees them, between -1 and 1."""
    return {"x": np.stack([written(48, width, seed) * 2 - 1 for seed in range(batch)])}


def file_types(batch):
    """Bytes of files as magika takes them: the beginning and the end, with 256 where a file is shorter."""
    source = pathlib.Path(__file__).read_bytes()
    rows = np.full((batch, 2048), 256, np.int32)
    for row in range(batch):
        length = min(1024, len(source) // (row + 1))
        rows[row, :length] = list(source[:length])
        rows[row, 2048 - length :] = list(source[-length:])
    return {"bytes": rows}


def detector(size):
    image = written(size, size) - np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    return {"x": (image / np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1))[None].astype(np.float32)}


def sequence(frames):
    speech = voice(frames * 0.036 + 0.2)[800 : 800 + frames * 576].reshape(frames, 576)
    state = {key: np.zeros((1, 1, 128), np.float32) for key in ("h", "c")}
    return {"input": speech, **state}


def without(inputs, name):
    return {key: value for key, value in inputs.items() if key != name}


VOICES = [silero(1, 576), silero(2, 576)]
VOICES_OF_16_KHZ = [without(inputs, "sr") for inputs in VOICES]
RAPID = "rapidocr_onnxruntime/models"

# The files, and the inputs of each at two sizes; where all sizes are fixed, two inputs.
MODELS = {
    "silero_vad/data/silero_vad.onnx": VOICES,
    "silero_vad/data/silero_vad_16k_op15.onnx": VOICES,
    "silero_vad/data/silero_vad_half.onnx": VOICES_OF_16_KHZ,
    "silero_vad/data/silero_vad_op18_ifless.onnx": VOICES,
    "silero_vad/data/silero_vad_16k_sequence.onnx": [sequence(1), sequence(5)],
    "silero_vad/data/silero_vad_openvino_16k.onnx": [VOICES_OF_16_KHZ[0], without(silero(1, 576, 8000), "sr")],
    "magika/models/standard_v3_3/model.onnx": [file_types(1), file_types(3)],
    f"{RAPID}/ch_PP-OCRv4_det_infer.onnx": [detector(96), detector(160)],
    f"{RAPID}/ch_PP-OCRv4_rec_infer.onnx": [text_images(96), text_images(160, 2)],
    f"{RAPID}/ch_ppocr_mobile_v2.0_cls_infer.onnx": [text_images(192), text_images(192, 3)],
    "nudenet/320n.onnx": [{"images": photograph(size, size)[None]} for size in (128, 192)],
    "basic_pitch/saved_models/icassp_2022/nmp.onnx": [
        {"serving_default_input_2:0": voice(2.2 * batch, 22050)[: batch * 43844].reshape(batch, 43844, 1)} for batch in (1, 2)
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    files = CaseFiles(parser.parse_args().output)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for file, sizes in MODELS.items():
        path = PACKAGES / file
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        package = file.split("/")[0]
        stem = path.stem if path.stem != "model" else "standard"
        for number, inputs in enumerate(sizes):
            outputs = session.run(None, inputs)
            assert all(np.all(np.isfinite(output)) for output in outputs), file
            named = dict(zip(names, outputs))
            limits = {"strict": True, "rtol": RELATIVE, "atol": ABSOLUTE_HALF if "half" in stem else ABSOLUTE}
            files.add_computed(f"{package}/{stem}_{number}", path, inputs, named, served=True, **limits)
    files.finish()


if __name__ == "__main__":
    main()
