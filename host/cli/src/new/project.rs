//! The files of a new project, made of those embedded in the binary.
//!
//! A template compiles in its place in Wisp's own sources, so it names the SDK there and a model
//! called `template`; those words, and `{{name}}` in its README, are what changes. The project's
//! layout keeps the distance between the SDK and `wit/`, since the SDK finds the contract by it.

use crate::options::Template;
use std::path::PathBuf;

/// Path and content of every file that is embedded, written by the build script.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded_files.rs"));

/// Where the parts of a project go, by where they are embedded.
const PLACES: [(&str, &str); 3] = [
    ("sdk/", "sdk/wisp-handler/"),
    ("wit/", "wit/"),
    // What the guests of Wisp are tested with; cargo drops the entries that a project has no use for.
    ("Cargo.lock", "Cargo.lock"),
];

/// What a template says for its own place, and what a project says instead.
const SDK_PATH: (&str, &str) = ("../../../../guest-models/sdk", "sdk/wisp-handler");
const PACKAGE_NAME: &str = "name = \"template\"";
const MODEL_DIRECTORY: &str = "models/template";
const NAME: &str = "{{name}}";

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Relative to the project's directory.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
}

/// All files of a project of this name.
pub(super) fn files(template: Template, name: &str) -> Vec<File> {
    let prefix = format!("templates/{}/", directory(template));
    let own = EMBEDDED.iter().filter_map(|(path, content)| {
        let path = path.strip_prefix(&prefix)?;
        Some(File {
            path: path
                .replace(MODEL_DIRECTORY, &format!("models/{name}"))
                .into(),
            content: rename(content, name),
        })
    });
    let common = EMBEDDED.iter().filter_map(|(path, content)| {
        let place = |(from, to): &(&str, &str)| Some(format!("{to}{}", path.strip_prefix(from)?));
        Some(File {
            path: PLACES.iter().find_map(place)?.into(),
            content: content.to_vec(),
        })
    });
    own.chain(common).collect()
}

/// A line that asks the project's server for an answer, to be pasted in the project's directory.
pub(super) fn curl(template: Template, name: &str) -> String {
    let url = format!("http://127.0.0.1:8000/v2/models/{name}/infer");
    match template {
        Template::Image => format!(
            "curl -H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json' \
             --data-binary @models/{name}/samples/red.png {url}"
        ),
        Template::Tabular | Template::Text => {
            format!("curl -d @models/{name}/samples/request.json {url}")
        }
    }
}

fn directory(template: Template) -> &'static str {
    match template {
        Template::Image => "image",
        Template::Tabular => "tabular",
        Template::Text => "text",
    }
}

/// The content with the template's words replaced, if it is text.
fn rename(content: &[u8], name: &str) -> Vec<u8> {
    match str::from_utf8(content) {
        Err(_) => content.to_vec(),
        Ok(text) => text
            .replace(PACKAGE_NAME, &format!("name = \"{name}\""))
            .replace(SDK_PATH.0, SDK_PATH.1)
            .replace(MODEL_DIRECTORY, &format!("models/{name}"))
            .replace(NAME, name)
            .into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use clap::ValueEnum;

    fn text(files: &[File], path: &str) -> anyhow::Result<String> {
        let file = files.iter().find(|file| file.path.as_os_str() == path);
        let file = file.with_context(|| format!("there is no {path}"))?;
        Ok(String::from_utf8(file.content.clone())?)
    }

    #[test]
    fn every_template_makes_a_whole_project_that_stands_alone() -> anyhow::Result<()> {
        for template in Template::value_variants() {
            let files = files(*template, "flowers");
            for path in [
                "Cargo.lock",
                ".gitignore",
                "src/lib.rs",
                "models/flowers/model.toml",
                "sdk/wisp-handler/Cargo.toml",
                "sdk/wisp-handler/src/lib.rs",
                "wit/handler.wit",
                "wit/deps/nn/wasi-nn.wit",
            ] {
                text(&files, path).with_context(|| format!("{template:?}"))?;
            }
            let manifest = text(&files, "Cargo.toml")?;
            assert!(manifest.contains("name = \"flowers\""), "{manifest}");
            assert!(
                manifest.contains("path = \"sdk/wisp-handler\""),
                "{manifest}"
            );
            assert!(manifest.contains("\n[workspace]"), "{manifest}");
            let sdk = text(&files, "sdk/wisp-handler/Cargo.toml")?;
            assert!(
                !sdk.contains("workspace = true"),
                "the SDK inherits from a workspace"
            );
            let readme = text(&files, "README.md")?;
            assert!(
                readme.contains(&curl(*template, "flowers")),
                "{template:?}: {readme}"
            );
            let count = |directory: &str| {
                let below = files.iter().filter(|file| file.path.starts_with(directory));
                below.count()
            };
            assert!(count("models/flowers/cases") >= 2, "{template:?}");
            assert!(count("models/flowers/samples") >= 1, "{template:?}");
            assert_eq!(count("models/flowers/1"), 1, "{template:?}");
        }
        Ok(())
    }

    #[test]
    fn nothing_of_the_template_is_left() {
        for template in Template::value_variants() {
            for file in files(*template, "flowers") {
                let is_ours = !file.path.starts_with("sdk") && !file.path.starts_with("wit");
                let text = String::from_utf8_lossy(&file.content);
                for word in [SDK_PATH.0, PACKAGE_NAME, MODEL_DIRECTORY, NAME] {
                    assert!(
                        !is_ours || !text.contains(word),
                        "{word} in {:?}",
                        file.path
                    );
                }
                assert!(!file.path.starts_with("models/template"), "{:?}", file.path);
            }
        }
    }
}
