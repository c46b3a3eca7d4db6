//! Finds a file in a simple index of Python packages, such as PyPI or a company's mirror.
//!
//! An index has a page for each project, as JSON (PEP 691) or, on older mirrors, as an HTML page of
//! links (PEP 503). Only the location of a file is taken from the index; digests come from the table in
//! `package`.

mod html;
pub(super) mod link;

use super::fetch;
use super::package::Wheel;
use crate::options::IndexUrl;
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::io::Read;
use ureq::{Agent, ResponseExt};

const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.6, text/html;q=0.5";

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
pub(super) fn find(agent: &Agent, index: &IndexUrl, wheel: &Wheel) -> anyhow::Result<String> {
    let url = format!("{}/{}/", index.address(), wheel.project);
    let shown = link::shown(&url);
    let mut answer = fetch::get(agent, &url, ACCEPT)?;
    // Links are relative to the final URL after redirects.
    let page = answer.get_uri().to_string();
    let content_type = answer.body().mime_type().unwrap_or_default().to_owned();
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
    let link = link_to(wheel.file, &content_type, &text)
        .with_context(|| format!("`{shown}` is not the page of a project in a package index"))?;
    let link = link.with_context(|| {
        format!(
            "`{shown}` does not offer `{}`; name an index that does with --index-url, or a file that you \
             have with --wheel",
            wheel.file
        )
    })?;
    link::resolve(&page, &link)
        .with_context(|| format!("`{shown}` has no http or https link to `{}`", wheel.file))
}

/// Returns the link to a file from the page of a project, as written there.
fn link_to(file: &str, content_type: &str, page: &[u8]) -> anyhow::Result<Option<String>> {
    if content_type.ends_with("json") {
        let project: Project = serde_json::from_slice(page)?;
        let mut files = project.files.into_iter();
        return Ok(files
            .find(|entry| entry.filename == file)
            .map(|entry| entry.url));
    }
    let page = String::from_utf8_lossy(page);
    let mut links = html::links(&page);
    Ok(links.find(|link| link::file_name(link) == file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "a-1.0-py3-none-any.whl";

    #[test]
    fn a_page_of_json_says_where_a_file_is() -> anyhow::Result<()> {
        let page = br#"{
            "meta": { "api-version": "1.1" }, "name": "a", "versions": ["1.0"],
            "files": [
                { "filename": "a-1.0.tar.gz", "url": "x.tar.gz", "hashes": {}, "size": 5 },
                { "filename": "a-1.0-py3-none-any.whl", "url": "https://files/9/a-1.0-py3-none-any.whl",
                  "hashes": { "sha256": "00" }, "yanked": "it is broken" }
            ]
        }"#;
        let json = "application/vnd.pypi.simple.v1+json";
        let link = link_to(FILE, json, page)?;
        assert_eq!(
            link.as_deref(),
            Some("https://files/9/a-1.0-py3-none-any.whl")
        );
        assert_eq!(link_to("a-2.0-py3-none-any.whl", json, page)?, None);
        assert!(link_to(FILE, json, b"<html></html>").is_err());
        assert!(link_to(FILE, json, b"{}").is_err());
        Ok(())
    }

    #[test]
    fn a_page_of_links_does_too() -> anyhow::Result<()> {
        let page = b"<!DOCTYPE html><html><body><h1>Links for a</h1>
            <a href=\"../../9/a-1.0.tar.gz\">a-1.0.tar.gz</a>
            <a href=\"../../9/a-1.0-py3-none-any.whl#sha256=00\" data-yanked>a-1.0-py3-none-any.whl</a>
            </body></html>";
        let link = link_to(FILE, "text/html", page)?;
        assert_eq!(
            link.as_deref(),
            Some("../../9/a-1.0-py3-none-any.whl#sha256=00")
        );
        assert_eq!(link_to("a-2.0-py3-none-any.whl", "text/html", page)?, None);
        assert_eq!(link_to(FILE, "", b"\xff not a page")?, None);
        Ok(())
    }
}
