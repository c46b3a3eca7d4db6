//! The formats of graph files, recognised by file name, and conversions of other formats to ONNX.

use std::path::Path;

/// A file format that a backend reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ONNX, which every backend reads.
    Onnx,
    /// An archive of the Neural Network Exchange Format, the own format of tract, which only tract reads.
    Nnef,
}

/// The file name endings. An ending that contains another comes first.
const ENDINGS: [(&str, Format); 4] = [
    (".onnx", Format::Onnx),
    (".nnef.tar.gz", Format::Nnef),
    (".nnef.tgz", Format::Nnef),
    (".nnef.tar", Format::Nnef),
];

const TF2ONNX: &str = "convert it with tf2onnx: `python -m tf2onnx.convert";

impl Format {
    /// Returns the format of the file at `path` and its name without the ending, if the format is supported.
    pub fn of(path: &Path) -> Option<(Format, &str)> {
        let name = path.file_name()?.to_str()?;
        let ending = |(ending, format): &(&str, Format)| {
            let stem = name.strip_suffix(ending)?;
            (!stem.is_empty()).then_some((*format, stem))
        };
        ENDINGS.iter().find_map(ending)
    }

    /// Returns the name of the format in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::Nnef => "nnef",
        }
    }
}

/// Returns instructions for converting the model file at `path`, if no backend reads its format.
pub fn conversion(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let text = match ending.as_str() {
        "pt" | "pth" | "ckpt" | "torchscript" | "mar" | "pt2" => {
            "export it from PyTorch: `torch.onnx.export(model, inputs, \"model.onnx\")`".to_owned()
        }
        "safetensors" => {
            "it contains only weights: export the model to ONNX, for example with `optimum-cli \
             export onnx`"
                .to_owned()
        }
        "pb" => format!("{TF2ONNX} --saved-model DIR --output model.onnx`"),
        "h5" | "keras" => format!("{TF2ONNX} --keras FILE --output model.onnx`"),
        "tflite" => format!("{TF2ONNX} --tflite FILE --output model.onnx`"),
        "pkl" | "pickle" | "joblib" => {
            "convert it with skl2onnx: `skl2onnx.to_onnx(model, X[:1])`".to_owned()
        }
        "xgb" | "ubj" | "bst" | "cbm" | "lgb" => {
            "convert it with onnxmltools, which supports XGBoost, LightGBM and CatBoost".to_owned()
        }
        "plan" | "engine" | "trt" => {
            "it is built by TensorRT for one GPU: serve the ONNX file it was built from".to_owned()
        }
        "ort" => {
            "it is for builds of ONNX Runtime without ONNX: serve the ONNX file that it was converted from"
                .to_owned()
        }
        "zip" | "7z" | "rar" | "xz" => "unpack it, and serve the ONNX file inside".to_owned(),
        "mlmodel" | "mlpackage" | "caffemodel" | "gguf" | "params" => {
            "serve the original model, converted to ONNX".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognized_by_file_name_ending() {
        for (name, found) in [
            ("model.onnx", Some((Format::Onnx, "model"))),
            ("a.b.onnx", Some((Format::Onnx, "a.b"))),
            ("model.nnef.tgz", Some((Format::Nnef, "model"))),
            ("model.nnef.tar.gz", Some((Format::Nnef, "model"))),
            ("dir/model.nnef.tar", Some((Format::Nnef, "model"))),
            (".onnx", None),
            ("model.onnx.bak", None),
            ("model.tgz", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), found, "{name}");
        }
    }

    #[test]
    fn unsupported_formats_are_reported_with_their_converter() {
        for (name, converter) in [
            ("model.pt", "torch.onnx.export"),
            ("saved_model.pb", "tf2onnx"),
            ("model.PKL", "skl2onnx"),
            ("model.safetensors", "optimum-cli"),
            ("model.ubj", "onnxmltools"),
            ("model.plan", "TensorRT"),
            ("model.ort", "converted from"),
            ("model.zip", "unpack it"),
        ] {
            let text = conversion(Path::new(name)).unwrap_or_default();
            assert!(text.contains(converter), "{name}: {text}");
        }
        for name in ["model.onnx", "labels.txt", "README", "config.json"] {
            assert_eq!(conversion(Path::new(name)), None, "{name}");
        }
    }
}
