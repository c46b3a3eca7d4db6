//! Tests of invalid files, and of reloading.

use super::file_error::hint;
use super::*;
use crate::tests::certificate::{Certificate, pair};
use std::io;
use tokio::task::JoinSet;

/// Returns the error for the files, without the directory.
fn reason(certificate: &Certificate) -> String {
    match Tls::load(certificate.files()) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => {
            let directory = format!("{}/", certificate.path().display());
            error.to_string().replace(&directory, "")
        }
    }
}

#[test]
fn an_invalid_certificate_or_key_is_reported_with_its_file() -> anyhow::Result<()> {
    let (good, another) = (pair()?, pair()?);
    let (chain, key) = (good.cert.pem(), good.signing_key.serialize_pem());
    let other_key = another.signing_key.serialize_pem();
    let begin = "-----BEGIN CERTIFICATE-----";
    let nothing = format!("{begin}\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key = nothing.replace("CERTIFICATE", "PRIVATE KEY");
    for (certificate, key, refused) in [
        (&*chain, &*key, "nothing"),
        (
            "",
            &key,
            "`server.pem` contains no certificate in PEM; it must begin",
        ),
        (
            &key,
            &key,
            "`server.pem` contains no certificate in PEM; it must begin",
        ),
        (
            begin,
            &key,
            "the certificate `server.pem` is damaged; it must begin",
        ),
        (
            &nothing,
            &key,
            "the certificate `server.pem` is damaged; it must begin",
        ),
        (
            &chain,
            &other_key,
            "the private key `server.key` does not match the first certificate in `server.pem`",
        ),
        (
            &chain,
            &chain,
            "`server.key` contains no private key in PEM; it must be",
        ),
        (
            &chain,
            &no_key,
            "the private key `server.key` is damaged; it must be",
        ),
    ] {
        let files = Certificate::new()?;
        std::fs::write(files.files().certificate, certificate)?;
        std::fs::write(files.files().key, key)?;
        let reason = reason(&files);
        assert!(
            reason.starts_with(refused),
            "expected {refused}, got {reason}"
        );
    }
    Ok(())
}

#[test]
fn no_error_repeats_a_key() -> anyhow::Result<()> {
    let files = Certificate::new()?;
    let pem = pair()?.signing_key.serialize_pem();
    // As after a copy that lost the line ends. The parser's error then contains the line.
    std::fs::write(files.files().key, pem.replace(['\n', '\r'], ""))?;
    let error = Tls::load(files.files()).expect_err("one line is no PEM");
    let secret = pem.lines().nth(1).expect("a key has lines");
    assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_to_do() -> anyhow::Result<()> {
    let files = Certificate::new()?;
    std::fs::remove_file(files.files().key)?;
    assert_eq!(
        reason(&files),
        "failed to read the private key `server.key`"
    );
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(hint(&denied).contains("needs read permission"));
    Ok(())
}

/// A check for changes of the certificate that new connections get.
struct Watch {
    tls: Arc<Tls>,
    last: Arc<ServerConfig>,
    _following: JoinSet<()>,
}

impl Watch {
    fn start(files: TlsFiles) -> anyhow::Result<Watch> {
        let tls = Arc::new(Tls::load(files)?);
        let mut following = JoinSet::new();
        following.spawn(Arc::clone(&tls).follow());
        Ok(Watch {
            last: tls.config(),
            tls,
            _following: following,
        })
    }

    /// Returns whether the certificate has changed after this number of checks of the files.
    async fn has_changed_after(&mut self, looks: u32) -> bool {
        tokio::time::sleep(LOOK_AGAIN * looks).await;
        let now = self.tls.config();
        let changed = !Arc::ptr_eq(&now, &self.last);
        self.last = now;
        changed
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_read_again_once_they_rest() -> anyhow::Result<()> {
    let mut certificate = Certificate::new()?;
    let mut watch = Watch::start(certificate.files())?;
    // Halfway between two checks from here on.
    tokio::time::sleep(LOOK_AGAIN / 2).await;
    assert!(!watch.has_changed_after(10).await, "nothing has changed");
    certificate.renew()?;
    assert!(!watch.has_changed_after(1).await, "it may not be complete");
    certificate.renew()?;
    assert!(!watch.has_changed_after(1).await, "it still changes");
    assert!(watch.has_changed_after(1).await);
    assert!(!watch.has_changed_after(10).await, "once is enough");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bad_new_certificate_changes_nothing_and_the_next_good_one_does() -> anyhow::Result<()> {
    let mut certificate = Certificate::new()?;
    let mut watch = Watch::start(certificate.files())?;
    tokio::time::sleep(LOOK_AGAIN / 2).await;
    certificate.spoil()?;
    assert!(!watch.has_changed_after(3).await);
    std::fs::remove_file(certificate.files().key)?;
    assert!(!watch.has_changed_after(3).await);
    certificate.renew()?;
    assert!(watch.has_changed_after(2).await);
    Ok(())
}

/// As with a secret mounted by Kubernetes: the files are behind a link, which is replaced.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_moved_is_a_change() -> anyhow::Result<()> {
    let (old, new) = (Certificate::new()?, Certificate::new()?);
    let mount = tempfile::tempdir()?;
    let (link, moved) = (mount.path().join("..data"), mount.path().join("..new"));
    std::os::unix::fs::symlink(old.path(), &link)?;
    let mut watch = Watch::start(TlsFiles {
        certificate: link.join("server.pem"),
        key: link.join("server.key"),
        client_ca: None,
        client_crl: None,
    })?;
    std::os::unix::fs::symlink(new.path(), &moved)?;
    std::fs::rename(moved, &link)?;
    assert!(watch.has_changed_after(3).await);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_authorities_of_clients_are_followed_and_never_replaced_by_none() -> anyhow::Result<()>
{
    let certificate = Certificate::new()?;
    let file = certificate.path().join("clients.pem");
    let files = TlsFiles {
        client_ca: Some(file.clone()),
        ..certificate.files()
    };
    std::fs::write(&file, pair()?.cert.pem())?;
    let mut watch = Watch::start(files)?;
    tokio::time::sleep(LOOK_AGAIN / 2).await;
    assert!(!watch.has_changed_after(3).await);
    std::fs::write(&file, pair()?.cert.pem())?;
    let before = watch.tls.client_authority();
    assert!(watch.has_changed_after(3).await);
    let after = watch.tls.client_authority();
    let (Some(before), Some(after)) = (before, after) else {
        anyhow::bail!("no authorities");
    };
    assert!(!Arc::ptr_eq(&before, &after));
    for invalid in ["", "no certificate"] {
        std::fs::write(&file, invalid)?;
        assert!(!watch.has_changed_after(3).await, "{invalid:?}");
        let now = watch.tls.client_authority();
        assert!(now.is_some_and(|now| Arc::ptr_eq(&now, &after)));
    }
    Ok(())
}

#[test]
fn invalid_authorities_of_clients_are_reported() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let file = certificate.path().join("clients.pem");
    let files = TlsFiles {
        client_ca: Some(file.clone()),
        ..certificate.files()
    };
    let good = pair()?.cert.pem();
    let key = std::fs::read_to_string(certificate.files().key)?;
    let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, expected) in [
        (good.clone(), None),
        (good.clone() + &good, None),
        (
            String::new(),
            Some("contains no certificate of an authority"),
        ),
        (key, Some("contains no certificate of an authority")),
        (nothing.to_owned(), Some("is damaged; it must contain")),
        (good + nothing, Some("is damaged; it must contain")),
    ] {
        std::fs::write(&file, &content)?;
        let error = Tls::load(files.clone()).err();
        let error = error.map(|error| error.to_string());
        let is_expected = match (&error, expected) {
            (Some(error), Some(part)) => error.contains("clients.pem") && error.contains(part),
            (error, part) => error.is_none() && part.is_none(),
        };
        assert!(is_expected, "{error:?}, expected {expected:?}");
    }
    Ok(())
}
