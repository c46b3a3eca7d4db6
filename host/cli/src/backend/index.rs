//! Finds a file in a simple index of Python packages, such as PyPI or a company's mirror.
//!
//! An index has a page for each project, in JSON (PEP 691). Only the location of a file is taken from the
//! index; digests come from `catalog`.

use super::package::Wheel;
use super::{fetch, link};
use crate::options::IndexUrl;
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::io::Read;
use ureq::{Agent, ResponseExt};
use url::Url;

const ACCEPT: &str = "application/vnd.pypi.simple.v1+json";

/// The limit on the size of a page, far above the page of a project with thousands of files.
const MAX_PAGE_BYTES: u64 = 64 * 1024 * 1024;

/// A project's page.
#[derive(Deserialize)]
struct Project {
    files: Vec<FileEntry>,
}

#[derive(Deserialize)]
struct FileEntry {
    filename: String,
    url: String,
}

/// Returns the URL of the wheel according to the index.
pub(super) fn find(agent: &Agent, index: &IndexUrl, wheel: &Wheel) -> anyhow::Result<Url> {
    let url = index.project(wheel.project);
    let shown = link::shown(&url);
    let mut answer = fetch::get(agent, &url, ACCEPT)?;
    // Links are relative to the final URL after redirects.
    let page: Url = answer.get_uri().to_string().parse()?;
    let content_type = answer.body().mime_type().unwrap_or("no type");
    ensure!(
        content_type.ends_with("json"),
        "`{shown}` has responded with {content_type}; an index with the JSON format of PEP 691 is \
         needed, such as https://pypi.org/simple: name one with --index-url, or name a file with --wheel"
    );
    let mut text = Vec::new();
    let body = answer.body_mut().as_reader();
    let length = body
        .take(MAX_PAGE_BYTES)
        .read_to_end(&mut text)
        .with_context(|| format!("failed to read `{shown}`"))?;
    ensure!(
        u64::try_from(length)? < MAX_PAGE_BYTES,
        "`{shown}` is too large for the page of a project"
    );
    let link = link_to(wheel.file, &text)
        .with_context(|| format!("`{shown}` is not the page of a project in a package index"))?;
    let link = link.with_context(|| {
        format!(
            "`{shown}` does not offer `{}`; name another index with --index-url, or a file with --wheel",
            wheel.file
        )
    })?;
    link::resolve(&page, &link)
        .with_context(|| format!("`{shown}` has no http or https link to `{}`", wheel.file))
}

/// Returns the link to a file from the page of a project, as written there.
fn link_to(file: &str, page: &[u8]) -> serde_json::Result<Option<String>> {
    let project: Project = serde_json::from_slice(page)?;
    let mut files = project.files.into_iter();
    let entry = files.find(|entry| entry.filename == file);
    Ok(entry.map(|entry| entry.url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_contains_the_location_of_a_file() -> anyhow::Result<()> {
        const FILE: &str = "a-1.0-py3-none-any.whl";
        let page = br#"{
            "meta": { "api-version": "1.1" }, "name": "a", "versions": ["1.0"],
            "files": [
                { "filename": "a-1.0.tar.gz", "url": "x.tar.gz", "hashes": {}, "size": 5 },
                { "filename": "a-1.0-py3-none-any.whl", "url": "https://files/9/a-1.0-py3-none-any.whl",
                  "hashes": { "sha256": "00" }, "yanked": "it is broken" }
            ]
        }"#;
        let link = link_to(FILE, page)?;
        assert_eq!(
            link.as_deref(),
            Some("https://files/9/a-1.0-py3-none-any.whl")
        );
        assert_eq!(link_to("a-2.0-py3-none-any.whl", page)?, None);
        assert!(link_to(FILE, b"<html></html>").is_err());
        assert!(link_to(FILE, b"{}").is_err());
        Ok(())
    }
}
