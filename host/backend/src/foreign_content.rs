//! Files that are no ONNX models although they have the name of one, recognised by their content.
//!
//! A download without Git LFS, a saved login page, or a renamed file of another format would otherwise fail
//! with an error about the encoding of messages. Each format is named with its remedy.

use crate::format::conversion;
use std::path::Path;

/// The number of bytes in which words of a format are searched.
const SEARCHED_BYTES: usize = 16 << 10;

/// The maximum length in bytes of the header of a safetensors file, as its authors define it.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The first bytes of formats, the name of the format, and the ending for which there are instructions.
const BEGINNINGS: [(&[u8], &str, &str); 9] = [
    (b"GGUF", "a GGUF file", "gguf"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, probably of Keras",
        "h5",
    ),
    (b"ftrt", "an engine of TensorRT", "engine"),
    (b"CBM1", "a CatBoost model", "cbm"),
    (b"tree\nversion=", "a LightGBM model", "lgb"),
    (b"{L\0\0\0\0\0\0\0\x07learner", "an XGBoost model", "ubj"),
    (b"{\"learner\"", "an XGBoost model", "xgb"),
    (b"\x93NUMPY", "a NumPy array", ""),
    (b"\xfd7zXZ\0", "an xz archive", "xz"),
];

/// Returns the format of a file that is not ONNX with the remedy, or `None` if it may be ONNX.
pub fn describe(content: &[u8]) -> Option<String> {
    let start = &content[..content.len().min(SEARCHED_BYTES)];
    let (name, advice) = recognize(start, content.len())?;
    Some(match advice.is_empty() {
        true => format!("it is {name}, not an ONNX model"),
        false => format!("it is {name}, not an ONNX model; {advice}"),
    })
}

/// Returns the name of the format and the remedy.
fn recognize(start: &[u8], length: usize) -> Option<(&'static str, String)> {
    let of_ending = |ending: &str| conversion(&Path::new("model").with_extension(ending));
    let named = |name, ending| Some((name, of_ending(ending).unwrap_or_default()));
    if length == 0 {
        return Some(("an empty file", String::new()));
    }
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        let advice =
            "run `git lfs install` and `git lfs pull` in its repository to get the file itself";
        return Some(("a Git LFS pointer", advice.to_owned()));
    }
    if let Some(found) = markup(start) {
        return Some(found);
    }
    for (beginning, name, ending) in BEGINNINGS {
        if start.starts_with(beginning) {
            return named(name, ending);
        }
    }
    if has_at(start, 4, b"ORTM") {
        return named("a model in ONNX Runtime's own format", "ort");
    }
    if has_at(start, 4, b"TFL3") {
        return named("a TensorFlow Lite model", "tflite");
    }
    if is_safetensors(start, length) {
        return named("a safetensors file", "safetensors");
    }
    if start.starts_with(b"PK\x03\x04") {
        // The name of the first file in the archive is not compressed.
        if contains(start, b"/data.pkl") {
            return named("a PyTorch file", "pt");
        }
        if contains(start, b"model.weights.h5") || contains(start, b"config.json") {
            return named("a zip archive, probably of Keras", "keras");
        }
        return named("a zip archive", "zip");
    }
    if start.starts_with(&[0x1f, 0x8b]) || has_at(start, 257, b"ustar") {
        let advice = "unpack it, or name it `.nnef.tgz` or `.nnef.tar` if it contains NNEF";
        return Some(("an archive", advice.to_owned()));
    }
    if is_pickle(start) {
        let is_torch = contains(start, b"torch") || has_at(start, 2, &[0x8a, 0x0a]);
        return match is_torch {
            true => named("a PyTorch file", "pt"),
            false => named("a pickled Python object", "pkl"),
        };
    }
    if is_text(start) {
        return Some(("a text file", String::new()));
    }
    if is_tensorflow(start) {
        return named("a TensorFlow model", "pb");
    }
    None
}

/// Returns a description of an HTML page or another text in angle brackets.
fn markup(start: &[u8]) -> Option<(&'static str, String)> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    let begins = |tag: &[u8]| {
        let first = text.get(..tag.len());
        first.is_some_and(|first| first.eq_ignore_ascii_case(tag))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        let advice = "download the file itself: on Hugging Face its address contains `/resolve/` instead of \
            `/blob/`, on GitHub `/raw/`, and some files need a login";
        return Some(("an HTML page", advice.to_owned()));
    }
    if begins(b"<?xml") && contains(text, b"<net ") {
        let advice = "serve the ONNX file that it was converted from";
        return Some(("a model of OpenVINO", advice.to_owned()));
    }
    begins(b"<?xml").then(|| ("an XML document", String::new()))
}

/// Returns whether the file begins with the length of a JSON object that fits into it, and that object.
fn is_safetensors(start: &[u8], length: usize) -> bool {
    let Some((header, rest)) = start.split_first_chunk::<8>() else {
        return false;
    };
    let header = u64::from_le_bytes(*header);
    let room = u64::try_from(length).unwrap_or(u64::MAX).saturating_sub(8);
    rest.first() == Some(&b'{') && header <= MAX_HEADER_BYTES && header <= room
}

/// Returns whether the content begins like a pickle of protocol 2 to 5.
fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
}

/// Returns whether the content is a SavedModel or a graph of TensorFlow. Both are protocol buffers like ONNX.
fn is_tensorflow(start: &[u8]) -> bool {
    // The same version as in the oldest ONNX files, followed by more than the name of a producer.
    let is_saved_model = matches!(start, [0x08, 0x01, 0x12, 0x80..=0xff, ..]);
    // A node comes first, which is not a field of ONNX.
    let is_graph = start.first() == Some(&0x0a)
        && [b"Placeholder".as_slice(), b"Const", b"VarHandleOp"]
            .iter()
            .any(|operator| contains(start, operator));
    is_saved_model || is_graph
}

/// Returns whether the content is printable text. A model contains numbers in binary from its first byte on.
fn is_text(start: &[u8]) -> bool {
    start
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

fn has_at(start: &[u8], position: usize, word: &[u8]) -> bool {
    let rest = start.get(position..);
    rest.is_some_and(|rest| rest.starts_with(word))
}

fn contains(start: &[u8], word: &[u8]) -> bool {
    start.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_with_what_to_do() {
        let mut safetensors = 20u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"w\":{\"dtype\":\"F32\"}");
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (content, name, advice) in [
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".as_slice(),
                "a Git LFS pointer",
                "git lfs pull",
            ),
            (b"\n <!DOCTYPE HTML>\n<html>", "an HTML page", "/resolve/"),
            (b"\xef\xbb\xbf<html lang=en>", "an HTML page", "/raw/"),
            (b"<?xml version='1.0'?><Error/>", "an XML document", ""),
            (
                b"<?xml version='1.0'?><net name='x'>",
                "OpenVINO",
                "ONNX file",
            ),
            (
                b"\x20\0\0\0ORTM\0\0",
                "ONNX Runtime's own format",
                "converted from",
            ),
            (b"\x20\0\0\0TFL3\0\0", "a TensorFlow Lite model", "tf2onnx"),
            (safetensors.as_slice(), "a safetensors file", "optimum-cli"),
            (b"GGUF\x03\0\0\0", "a GGUF file", "converted to ONNX"),
            (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file", "tf2onnx"),
            (
                b"PK\x03\x04\0\0archive/data.pkl",
                "a PyTorch file",
                "torch.onnx.export",
            ),
            (b"PK\x03\x04\0\0config.json", "Keras", "tf2onnx"),
            (b"PK\x03\x04\0\0readme", "a zip archive", "unpack it"),
            (
                b"\x80\x04\x95\0\0sklearn.linear_model",
                "a pickled",
                "skl2onnx",
            ),
            (
                b"\x80\x02\x8a\x0al\xfc",
                "a PyTorch file",
                "torch.onnx.export",
            ),
            (
                b"\x08\x01\x12\xa0\x10\x0a\x05",
                "a TensorFlow model",
                "tf2onnx",
            ),
            (
                b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder",
                "a TensorFlow model",
                "tf2onnx",
            ),
            (b"\x1f\x8b\x08\0", "an archive", "unpack it"),
            (tar.as_slice(), "an archive", "unpack it"),
            (b"tree\nversion=v4\n", "a LightGBM model", "onnxmltools"),
            (b"not a model\n", "a text file", ""),
            (b"", "an empty file", ""),
        ] {
            let text = describe(content).unwrap_or_default();
            assert!(
                text.contains(name) && text.contains(advice),
                "{name}: {text}"
            );
            assert!(text.contains("not an ONNX model"), "{name}: {text}");
        }
    }

    #[test]
    fn content_that_may_be_an_onnx_model_is_not_described() {
        for content in [
            // The version of the format, then the producer or the graph.
            b"\x08\x07\x12\x07pytorch".as_slice(),
            b"\x08\x01\x12\x05serve\x3a\x00",
            b"\x08\x0a\x3a\x10\x0a\x0eConstPlaceholder",
            b"\x3a\x02\x12\x00",
            b"\x10\0\0\0\0\0\0\0x",
        ] {
            assert_eq!(describe(content), None, "{content:?}");
        }
    }
}
