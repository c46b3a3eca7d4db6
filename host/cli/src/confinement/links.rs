//! The links on the way to a file, and the directories to which they may lead once they are switched.
//!
//! Files that belong together are often replaced as a whole, by one link that then leads to another directory, such as
//! `..data` in a volume of Kubernetes and `current` in a directory of releases. A rule of Landlock holds for the directory
//! that is there when it is made, so the one that has the next directory too must be allowed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most links that are followed, as many as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Returns the directories that have the targets of the links on the way to a file: of the directories of its path, of
/// the file itself, and of the links to which these lead.
///
/// Links that are the layout of a system are not switched, and would allow far too much: directories that are links in
/// the root directory, and those that lead to a directory of it. For the same reason a directory around that of the user,
/// the `home`, is left out.
pub(super) fn beside_targets(file: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let home = home.and_then(|home| home.canonicalize().ok());
    let is_around_home = |directory: &Path| {
        let home = home.as_ref();
        home.is_some_and(|home| home != directory && home.starts_with(directory))
    };
    let mut found: Vec<PathBuf> = Vec::new();
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    // Without a separator at its end, which would follow a link.
    let mut open: Vec<PathBuf> = vec![file.components().collect()];
    while let Some(path) = open.pop() {
        for place in path.ancestors() {
            let Ok(target) = fs::read_link(place) else {
                continue;
            };
            let (Some(name), Some(holder)) = (place.file_name(), real_directory(place)) else {
                continue;
            };
            if seen.len() >= MAX_LINKS || !seen.insert(holder.join(name)) {
                continue;
            }
            let next = holder.join(&target);
            let is_of_system = place != path && is_root(&holder);
            if let Some(beside) = real_directory(&next)
                && target.file_name().is_some()
                && !is_of_system
                && !is_root(&beside)
                && !is_around_home(&beside)
                && !found.contains(&beside)
            {
                found.push(beside);
            }
            open.push(next.components().collect());
        }
    }
    found
}

/// Returns the directory of a path as it is named.
pub(super) fn directory(path: &Path) -> Option<PathBuf> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    }
}

fn real_directory(path: &Path) -> Option<PathBuf> {
    directory(path)?.canonicalize().ok()
}

fn is_root(directory: &Path) -> bool {
    directory.parent().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Returns a directory with these files, and its real path.
    fn files(names: &[&str]) -> Result<(TempDir, PathBuf)> {
        let directory = tempfile::tempdir()?;
        let root = directory.path().canonicalize()?;
        for name in names {
            let file = root.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&root))?;
            fs::write(file, "")?;
        }
        Ok((directory, root))
    }

    #[test]
    fn a_secret_of_kubernetes_is_read_in_its_volume_from_wherever_a_link_leads_to_it() -> Result<()>
    {
        let (_files, root) = files(&["volume/..2026_11_28/ca.pem", "etc/own.pem"])?;
        symlink("..2026_11_28", root.join("volume/..data"))?;
        symlink("..data/ca.pem", root.join("volume/ca.pem"))?;
        symlink(root.join("volume/ca.pem"), root.join("etc/ca.pem"))?;
        let volume = root.join("volume");
        for file in ["volume/..data/ca.pem", "volume/ca.pem", "etc/ca.pem"] {
            let found = beside_targets(&root.join(file), None);
            assert!(found.contains(&volume), "{file}: {found:?}");
            let below = |place: &PathBuf| place.starts_with(&volume);
            assert!(found.iter().all(below), "{file}: {found:?}");
        }
        assert!(beside_targets(&root.join("etc/own.pem"), None).is_empty());
        Ok(())
    }

    #[test]
    fn a_directory_that_is_a_link_may_be_switched_to_another_beside_its_target() -> Result<()> {
        let (_files, root) = files(&["releases/1/tls/ca.pem", "settings/1/ca.pem"])?;
        symlink("releases/1", root.join("current"))?;
        symlink("../../settings/1", root.join("releases/1/more"))?;
        let found = beside_targets(&root.join("current/tls/ca.pem"), None);
        assert_eq!(found, [root.join("releases")]);
        // A file that does not exist yet.
        let found = beside_targets(&root.join("current/tls/crl.pem"), None);
        assert_eq!(found, [root.join("releases")]);
        let found = beside_targets(&root.join("current/more/ca.pem"), None);
        assert_eq!(found, [root.join("settings"), root.join("releases")]);
        // The directory itself, with a separator at its end.
        let found = beside_targets(&root.join("current/"), None);
        assert_eq!(found, [root.join("releases")]);
        Ok(())
    }

    #[test]
    fn a_link_to_a_link_is_followed_and_a_circle_of_links_ends() -> Result<()> {
        let (_files, root) = files(&["store/a/1/ca.pem", "links/file"])?;
        symlink("../store/a/1", root.join("links/real"))?;
        symlink("links/real", root.join("current"))?;
        let found = beside_targets(&root.join("current/ca.pem"), None);
        assert_eq!(found, [root.join("links"), root.join("store/a")]);
        symlink("b", root.join("links/a"))?;
        symlink("a", root.join("links/b"))?;
        let found = beside_targets(&root.join("links/a/ca.pem"), None);
        assert_eq!(found, [root.join("links")]);
        symlink(".", root.join("store/self"))?;
        symlink("..", root.join("store/above"))?;
        assert!(beside_targets(&root.join("store/self/a"), None).is_empty());
        assert!(beside_targets(&root.join("store/above/links"), None).is_empty());
        Ok(())
    }

    #[test]
    fn links_that_are_the_layout_of_a_system_allow_nothing() -> Result<()> {
        let (_files, root) = files(&["disk/users/me/ca.pem", "disk/users/me/.ssh/key"])?;
        symlink("/usr", root.join("system"))?;
        assert!(beside_targets(&root.join("system/ca.pem"), None).is_empty());
        // The home of the user is on another disk.
        symlink("disk/users/me", root.join("me"))?;
        let file = root.join("me/ca.pem");
        assert!(beside_targets(&file, Some(&root.join("me"))).is_empty());
        let users = [root.join("disk/users")];
        assert_eq!(beside_targets(&file, Some(Path::new("/none"))), users);
        Ok(())
    }
}
