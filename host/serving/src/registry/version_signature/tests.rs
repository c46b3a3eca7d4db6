//! Tests of signatures that the tool minisign 0.11 has made. Its secret key was thrown away.

use super::*;
use crate::registry::repository;
use anyhow::{Context, Result};
use tempfile::TempDir;

const KEY: &str = "untrusted comment: minisign public key 6CB1E244DE0D43FF\n\
    RWT/Qw3eROKxbCtt2k6dy/PjviRvwuHJ6l8IanN37K7Dis0Cl6/cip6f\n";

/// A foreign key: the one of minisign's own releases.
const OTHER_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
    RUT/Qw3eROKxbCnFPtR1uAUzpP3/K+2ykbsKPAmISfovuqGqZ6+LCPdnlPNDzG1pqxsSv0EQGS2h6FfeAb8wNr3fMo3PSraLvwI=\n\
    trusted comment: m 1\n\
    CecnjWxCG94T0S5/qNtRbCw7JYIajv790dJB20ey1ZgpYHvqiaIcS0egH3frhVn9hiWbK/3ygUKIufGEPcCzBg==\n";

const CHECKSUMS: &str = "\
    eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d  m/1/model.onnx\n\
    b2b3631be74f8464fc1c749ea61af9a4c7e770c8a91365c2e78c5a405cabbaae  m/model.toml\n";

/// Creates a repository with the signed model `m`.
fn signed() -> Result<TempDir> {
    let repository = tempfile::tempdir()?;
    fs::create_dir_all(repository.path().join("m/1"))?;
    for (file, content) in [
        ("m/1/model.onnx", "graph"),
        ("m/model.toml", "max_batch_size = 4\n"),
        ("m/1/SHA256SUMS", CHECKSUMS),
        ("m/1/SHA256SUMS.minisig", SIGNATURE),
    ] {
        fs::write(repository.path().join(file), content)?;
    }
    Ok(repository)
}

fn policy(key: &str) -> Result<SignaturePolicy> {
    Ok(SignaturePolicy {
        trusted_keys: vec![TrustedKey::parse(key)?],
        is_required: true,
    })
}

fn verify(
    policy: &SignaturePolicy,
    model: &Path,
) -> Result<Result<VerifiedFiles, VersionSignatureError>> {
    Ok(policy.verify(&repository::version_files(model)?))
}

fn refusal(policy: &SignaturePolicy, model: &Path) -> Result<String> {
    let refused = verify(policy, model)?.err().context("accepted")?;
    Ok(refused.to_string())
}

#[test]
fn a_signed_version_is_accepted_until_a_file_changes() -> Result<()> {
    let repository = signed()?;
    let model = repository.path().join("m");
    let policy = policy(KEY)?;
    let verified = verify(&policy, &model)??;
    verified.check_unchanged()?;
    fs::write(model.join("1/model.onnx"), "other")?;
    let changed = verified.check_unchanged();
    assert!(matches!(
        changed,
        Err(VersionSignatureError::Changed { .. })
    ));
    let reason = refusal(&policy, &model)?;
    assert!(
        reason.starts_with("`m/1/model.onnx` is not the file"),
        "{reason}"
    );
    Ok(())
}

#[test]
fn a_file_that_is_added_while_the_version_is_loaded_makes_the_load_fail() -> Result<()> {
    for added in ["config.pbtxt", "baseline.json", "1/labels.txt"] {
        let repository = signed()?;
        let model = repository.path().join("m");
        let verified = verify(&policy(KEY)?, &model)??;
        fs::write(model.join(added), "1")?;
        let changed = verified.check_unchanged().err().context("accepted")?;
        assert!(changed.to_string().contains(added), "{changed}");
    }
    Ok(())
}

#[test]
fn files_cannot_be_added_removed_or_taken_to_another_version() -> Result<()> {
    let policy = policy(KEY)?;
    let change = |change: &dyn Fn(&Path) -> io::Result<()>| -> Result<String> {
        let repository = signed()?;
        let model = repository.path().join("m");
        change(&model)?;
        refusal(&policy, &model)
    };
    for (reason, expected) in [
        (
            change(&|model| fs::write(model.join("1/handler.wasm"), "hostile"))?,
            "`m/1/handler.wasm` is not in the signed",
        ),
        (
            change(&|model| fs::write(model.join("config.pbtxt"), "max_batch_size: 8"))?,
            "`m/config.pbtxt` is not in the signed",
        ),
        (
            change(&|model| fs::remove_file(model.join("model.toml")))?,
            "`m/model.toml` is in the signed SHA256SUMS and does not exist",
        ),
        (
            change(&|model| fs::rename(model.join("1"), model.join("2")))?,
            "`m/2/model.onnx` is not in the signed",
        ),
        (
            change(&|model| fs::write(model.join("1/SHA256SUMS"), format!("{CHECKSUMS}\n")))?,
            "SHA256SUMS.minisig is not a valid signature of SHA256SUMS",
        ),
        (
            change(&|model| fs::write(model.join("1/SHA256SUMS.minisig"), "untrusted"))?,
            "SHA256SUMS.minisig is not a signature of minisign",
        ),
        (
            change(&|model| fs::remove_file(model.join("1/SHA256SUMS.minisig")))?,
            "the version is not signed",
        ),
        (
            change(&|model| fs::remove_file(model.join("1/SHA256SUMS")))?,
            "SHA256SUMS cannot be read",
        ),
    ] {
        assert!(reason.starts_with(expected), "{reason}");
    }
    Ok(())
}

#[test]
fn the_model_of_a_signature_cannot_be_another_one() -> Result<()> {
    let repository = signed()?;
    let other = repository.path().join("other");
    fs::rename(repository.path().join("m"), &other)?;
    let reason = refusal(&policy(KEY)?, &other)?;
    assert!(
        reason.contains("`other/1/model.onnx` is not in the signed"),
        "{reason}"
    );
    Ok(())
}

#[test]
fn another_key_is_not_trusted_and_several_keys_may_be() -> Result<()> {
    let repository = signed()?;
    let model = repository.path().join("m");
    let reason = refusal(&policy(OTHER_KEY)?, &model)?;
    assert!(reason.contains("a key that is not trusted"), "{reason}");
    let mut both = policy(OTHER_KEY)?;
    both.trusted_keys.push(TrustedKey::parse(KEY)?);
    verify(&both, &model)??;
    assert_eq!(TrustedKey::parse("untrusted"), Err(TrustedKeyError));
    Ok(())
}

#[test]
fn without_the_requirement_an_unsigned_version_is_accepted_and_a_wrong_signature_is_not()
-> Result<()> {
    let repository = signed()?;
    let model = repository.path().join("m");
    let mut policy = policy(KEY)?;
    policy.is_required = false;
    fs::write(model.join("1/model.onnx"), "other")?;
    assert!(refusal(&policy, &model)?.contains("is not the file that was signed"));
    fs::remove_file(model.join("1/SHA256SUMS.minisig"))?;
    verify(&policy, &model)??;
    // Without a key, signatures have no meaning.
    let ignored = SignaturePolicy::default();
    fs::write(model.join("1/SHA256SUMS.minisig"), "untrusted")?;
    verify(&ignored, &model)??;
    Ok(())
}

#[test]
fn a_single_file_cannot_be_signed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let graph = directory.path().join("m.onnx");
    fs::write(&graph, "graph")?;
    let files = repository::model_files(&graph)?;
    let refused = policy(KEY)?.verify(&files);
    assert!(matches!(refused, Err(VersionSignatureError::SingleFile)));
    Ok(())
}
