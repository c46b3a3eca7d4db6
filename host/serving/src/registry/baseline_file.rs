//! The file of a baseline, `baseline.json`, in the directory of a model or of one of its versions.
//!
//! The format has a version. Numbers survive it exactly, since an observation may equal a point of the
//! baseline. A file that cannot be used fails the load of its version, so that a model is not served without the
//! observation that its author expects. The message contains no path, and nothing of the file but its structure.

use crate::quality::baseline::{Baseline, FeatureBaseline, InputBaseline};
use crate::quality::distribution::{
    CategoricalDistribution, Distribution, NumericDistribution, Summary, binned,
};
use crate::registry::contained_path::contained;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::read_regular_text;
use wisp_tensor::{ElementType, Signature};

/// The name of the file.
pub const FILE_NAME: &str = "baseline.json";

/// The size limit of a file in bytes: all features with as many points as there may be.
const MAX_BYTES: u64 = 32 << 20;

/// The value of `format`.
const FORMAT: &str = "wisp-baseline";

/// The version of the format.
const FORMAT_VERSION: u64 = 1;

/// The reason that a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("{FILE_NAME} cannot be read: {0}")]
    Read(io::Error),
    #[error("{FILE_NAME} is a link to a file outside of the model's directory: copy the file")]
    Elsewhere,
    #[error(
        "{FILE_NAME} is damaged: {reason}; create it again with `wisp baseline MODEL --from DATA`, or remove it"
    )]
    Damaged { reason: String },
    #[error(
        "{FILE_NAME} has version {version} of its format, and this program reads version {FORMAT_VERSION}: update \
         Wisp, or create the file again with `wisp baseline MODEL --from DATA`"
    )]
    Version { version: u64 },
    #[error(
        "{FILE_NAME} belongs to another model: {reason}; create it again with `wisp baseline MODEL --from DATA`, or \
         remove it"
    )]
    Mismatch { reason: String },
}

/// The first members of a file of any version.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u64,
    window: usize,
    inputs: Vec<InputDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputDocument {
    name: String,
    datatype: String,
    features: Vec<FeatureDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    missing: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    numeric: Option<NumericDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categorical: Option<CategoricalDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumericDocument {
    mean: Exact,
    std: Exact,
    min: Exact,
    max: Exact,
    /// The bins of the PSI. Without edges, each point is a bin, and all other values are one.
    bin_edges: Vec<Exact>,
    bin_counts: Vec<u64>,
    /// The empirical distribution function: the numbers of values below, at and between the points.
    points: Vec<Exact>,
    counts: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoricalDocument {
    categories: Vec<String>,
    counts: Vec<u64>,
    other: u64,
}

/// A number that is read exactly. By default, serde_json may read a neighbor of the number that was written.
#[derive(Clone, Copy)]
struct Exact(f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let number = raw.get().parse::<f64>();
        number
            .map(Exact)
            .map_err(|_| serde::de::Error::custom("expected a number"))
    }
}

/// Returns the file of the baseline for this directory of a version: its own, or else the model's.
pub fn find(version_directory: &Path) -> Option<PathBuf> {
    let directories = [Some(version_directory), version_directory.parent()];
    let files = directories.into_iter().flatten();
    let mut files = files.map(|directory| directory.join(FILE_NAME));
    // A link that leads nowhere is an error of the load.
    files.find(|file| std::fs::symlink_metadata(file).is_ok())
}

/// Reads the baseline of a model with this signature.
pub fn load(path: &Path, signature: &Signature) -> Result<Baseline, BaselineError> {
    let baseline = read(path)?;
    match baseline.mismatch(signature) {
        Some(reason) => Err(BaselineError::Mismatch { reason }),
        None => Ok(baseline),
    }
}

/// Reads a baseline of any model.
pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default();
    let contained = contained(directory, Path::new(name)).map_err(BaselineError::Read)?;
    let path = contained.ok_or(BaselineError::Elsewhere)?;
    let text = read_regular_text(&path, MAX_BYTES).map_err(BaselineError::Read)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Baseline, BaselineError> {
    let header: Header = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    if header.format != FORMAT {
        return Err(damaged("it has the format of another file"));
    }
    if header.version != FORMAT_VERSION {
        let version = header.version;
        return Err(BaselineError::Version { version });
    }
    let document: Document = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    let inputs = document.inputs.into_iter().map(input);
    let baseline = Baseline {
        window: document.window,
        inputs: inputs.collect::<Result<Vec<InputBaseline>, BaselineError>>()?,
    };
    match baseline.problem() {
        Some(reason) => Err(BaselineError::Damaged { reason }),
        None => Ok(baseline),
    }
}

/// Returns the error for a text that is not such a document, with the place and without the text.
fn syntax(error: &serde_json::Error) -> BaselineError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a member is missing, unknown or of the wrong type",
        _ => "it is not JSON, or incomplete",
    };
    let (line, column) = (error.line(), error.column());
    BaselineError::Damaged {
        reason: format!("{kind} (line {line}, column {column})"),
    }
}

fn damaged(reason: &str) -> BaselineError {
    BaselineError::Damaged {
        reason: reason.to_owned(),
    }
}

fn input(document: InputDocument) -> Result<InputBaseline, BaselineError> {
    let Some(element_type) = ElementType::from_name(&document.datatype) else {
        return Err(damaged("an input has an unknown datatype"));
    };
    let features = document.features.into_iter().map(feature);
    Ok(InputBaseline {
        name: document.name,
        element_type,
        features: features.collect::<Result<Vec<FeatureBaseline>, BaselineError>>()?,
    })
}

fn feature(document: FeatureDocument) -> Result<FeatureBaseline, BaselineError> {
    let distribution = match (document.numeric, document.categorical) {
        (Some(numeric), None) => Distribution::Numeric(numeric_distribution(numeric)?),
        (None, Some(categorical)) => Distribution::Categorical(CategoricalDistribution {
            categories: categorical.categories,
            counts: categorical.counts,
            other: categorical.other,
        }),
        _ => return Err(damaged("a feature has not exactly one distribution")),
    };
    Ok(FeatureBaseline {
        name: document.name,
        missing: document.missing,
        distribution,
    })
}

fn numeric_distribution(document: NumericDocument) -> Result<NumericDistribution, BaselineError> {
    let distribution = NumericDistribution {
        summary: Summary {
            mean: document.mean.0,
            std: document.std.0,
            min: document.min.0,
            max: document.max.0,
        },
        points: document.points.into_iter().map(|point| point.0).collect(),
        counts: document.counts,
        edges: document.bin_edges.into_iter().map(|edge| edge.0).collect(),
    };
    if let Some(reason) = distribution.problem() {
        return Err(damaged(reason));
    }
    match bin_counts(&distribution) == document.bin_counts {
        true => Ok(distribution),
        false => Err(damaged(
            "the counts of bins and points contradict each other",
        )),
    }
}

fn bin_counts(numeric: &NumericDistribution) -> Vec<u64> {
    binned(&numeric.counts, &numeric.bins(), numeric.bin_count())
}

/// Writes a baseline to a file. The file is complete, or unchanged if that fails.
pub fn save(path: &Path, baseline: &Baseline) -> io::Result<()> {
    let mut text = serde_json::to_string(&document(baseline))?;
    text.push('\n');
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The server may run as another user than the author of the model.
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn document(baseline: &Baseline) -> Document {
    let inputs = baseline.inputs.iter().map(|input| InputDocument {
        name: input.name.clone(),
        datatype: input.element_type.to_string(),
        features: input.features.iter().map(feature_document).collect(),
    });
    Document {
        format: FORMAT.to_owned(),
        version: FORMAT_VERSION,
        window: baseline.window,
        inputs: inputs.collect(),
    }
}

fn feature_document(feature: &FeatureBaseline) -> FeatureDocument {
    let exact = |numbers: &[f64]| numbers.iter().map(|number| Exact(*number)).collect();
    let (numeric, categorical) = match &feature.distribution {
        Distribution::Numeric(numeric) => {
            let Summary {
                mean,
                std,
                min,
                max,
            } = numeric.summary;
            let document = NumericDocument {
                mean: Exact(mean),
                std: Exact(std),
                min: Exact(min),
                max: Exact(max),
                bin_edges: exact(&numeric.edges),
                bin_counts: bin_counts(numeric),
                points: exact(&numeric.points),
                counts: numeric.counts.clone(),
            };
            (Some(document), None)
        }
        Distribution::Categorical(categorical) => {
            let document = CategoricalDocument {
                categories: categorical.categories.clone(),
                counts: categorical.counts.clone(),
                other: categorical.other,
            };
            (None, Some(document))
        }
    };
    FeatureDocument {
        name: feature.name.clone(),
        missing: feature.missing,
        numeric,
        categorical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::distribution::MAX_POINTS;

    fn baseline() -> Baseline {
        let values: Vec<f64> = (1..500u32).map(|n| f64::from(n).sqrt() / 3.0).collect();
        let numeric = NumericDistribution::of(values, MAX_POINTS).expect("values");
        let texts = [("red".to_owned(), 2), ("\"\n".to_owned(), 1)].into();
        let categorical = CategoricalDistribution::of(texts, 3).expect("texts");
        let feature = |distribution| FeatureBaseline {
            name: Some("a".to_owned()),
            missing: 7,
            distribution,
        };
        let input = |name: &str, element_type, distribution| InputBaseline {
            name: name.to_owned(),
            element_type,
            features: vec![feature(distribution)],
        };
        Baseline {
            window: 1000,
            inputs: vec![
                input("x", ElementType::Fp64, Distribution::Numeric(numeric)),
                input(
                    "text",
                    ElementType::Bytes,
                    Distribution::Categorical(categorical),
                ),
            ],
        }
    }

    #[test]
    fn a_baseline_survives_its_file_exactly() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(FILE_NAME);
        save(&path, &baseline())?;
        assert_eq!(read(&path)?, baseline());
        let text = std::fs::read(&path)?;
        save(&path, &read(&path)?)?;
        assert_eq!(std::fs::read(&path)?, text);
        assert_eq!(std::fs::read_dir(&directory)?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_remedy() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(FILE_NAME);
        save(&path, &baseline())?;
        let text = std::fs::read_to_string(&path)?;
        let cut = text.get(..text.len() / 2).unwrap_or_default().to_owned();
        for (damaged, reason) in [
            (cut, "it is not JSON, or incomplete"),
            (String::new(), "it is not JSON, or incomplete"),
            (text.replace("FP64", "FP65"), "unknown datatype"),
            (
                text.replace("\"window\":1000", "\"window\":1"),
                "its window is 1",
            ),
            (
                text.replace("\"mean\"", "\"secret\""),
                "a member is missing, unknown",
            ),
            (
                text.replace("\"other\":3", "\"other\":-3"),
                "a member is missing, unknown",
            ),
            (text.replace("wisp-baseline", "other"), "another file"),
            (
                text.replacen("\"bin_counts\":[", "\"bin_counts\":[1,", 1),
                "contradict",
            ),
            (
                text.replacen("\"points\":[", "\"points\":[9e9,", 1),
                "points are not",
            ),
        ] {
            std::fs::write(&path, damaged)?;
            let error = read(&path).expect_err(reason).to_string();
            assert!(error.starts_with("baseline.json is damaged: "), "{error}");
            assert!(error.contains(reason), "{error}");
            assert!(
                error.contains("`wisp baseline MODEL --from DATA`"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":2"))?;
        let error = read(&path).expect_err("it is newer").to_string();
        assert!(error.contains("version 2 of its format"), "{error}");
        Ok(())
    }

    #[test]
    fn no_byte_makes_reading_panic() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(FILE_NAME);
        save(&path, &baseline())?;
        let text = std::fs::read(&path)?;
        for position in 0..text.len() {
            let mut damaged = text.clone();
            damaged[position] ^= 1;
            std::fs::write(&path, damaged)?;
            if let Err(error) = read(&path) {
                let error = error.to_string();
                assert!(error.starts_with("baseline.json "), "{position}: {error}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_baseline_is_that_of_the_version_or_of_the_model() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let version = directory.path().join("1");
        std::fs::create_dir(&version)?;
        assert_eq!(find(&version), None);
        let of_model = directory.path().join(FILE_NAME);
        std::fs::write(&of_model, "")?;
        assert_eq!(find(&version), Some(of_model));
        let of_version = version.join(FILE_NAME);
        std::os::unix::fs::symlink("/etc/passwd", &of_version)?;
        assert_eq!(find(&version), Some(of_version.clone()));
        assert!(matches!(read(&of_version), Err(BaselineError::Elsewhere)));
        Ok(())
    }
}
