//! Tests of certificates over time, and while the authorities of clients change.

use super::*;
use crate::tests::certificate::Certificate;
use crate::tls::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, date_time_ymd,
};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// The last second in which the certificates of clients are valid, since 1970.
const LAST_SECOND: u64 = 999_993_600;

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// The serial number of the certificates of clients.
const SERIAL: u64 = 0x1234_5678;

/// Returns a certificate with the name `dns:client.example` alone.
fn client(
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> anyhow::Result<CertificateDer<'static>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::DnsName("client.example".try_into()?)];
    params.not_after = date_time_ymd(2001, 9, 9);
    params.serial_number = Some(SERIAL.into());
    let certificate = params.signed_by(&KeyPair::generate()?, authority)?;
    Ok(certificate.der().clone())
}

/// Returns a list of revoked certificates in PEM, which was issued on the first day of 2000 and is valid until the first day of `end`.
fn revocation_list(
    authority: &CertifiedIssuer<'static, KeyPair>,
    revoked: &[u64],
    end: i32,
) -> anyhow::Result<String> {
    list_of_years(authority, revoked, (2000, end))
}

/// Returns a list of revoked certificates in PEM, which was issued on the first day of a year and is valid until that of
/// another.
fn list_of_years(
    authority: &CertifiedIssuer<'static, KeyPair>,
    revoked: &[u64],
    (begin, end): (i32, i32),
) -> anyhow::Result<String> {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: date_time_ymd(2000, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(begin, 1, 1),
        next_update: date_time_ymd(end, 1, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(authority)?.pem()?)
}

/// A server's files with a client of the first of two authorities.
struct Case {
    certificate: Certificate,
    first: CertifiedIssuer<'static, KeyPair>,
    second: CertifiedIssuer<'static, KeyPair>,
}

impl Case {
    fn new() -> anyhow::Result<Case> {
        let case = Case {
            certificate: Certificate::new()?,
            first: authority("first")?,
            second: authority("second")?,
        };
        std::fs::write(case.file(), case.first.pem())?;
        Ok(case)
    }

    fn file(&self) -> PathBuf {
        self.certificate.path().join("clients.pem")
    }

    fn load(&self) -> anyhow::Result<Arc<Tls>> {
        let files = TlsFiles {
            client_ca: Some(self.file()),
            ..self.certificate.files()
        };
        Ok(Arc::new(Tls::load(files)?))
    }
}

/// Returns the number of names at this time, in seconds since 1970.
fn names(peer: &PeerCertificate, at: u64) -> usize {
    peer.subjects(UNIX_EPOCH + Duration::from_secs(at)).len()
}

#[test]
fn a_certificate_has_its_names_until_its_end() -> anyhow::Result<()> {
    let case = Case::new()?;
    let chain = [client(&case.first)?];
    let peer = PeerCertificate::new(&chain, case.load()?);
    for (at, expected) in [
        (LAST_SECOND - 1, 1),
        (LAST_SECOND, 1),
        (LAST_SECOND + 1, 0),
        (u64::from(u32::MAX), 0),
        // The clock has been set back.
        (LAST_SECOND, 1),
    ] {
        assert_eq!(names(&peer, at), expected, "{at}");
    }
    let late = PeerCertificate::new(&chain, case.load()?);
    assert_eq!(names(&late, LAST_SECOND + 1), 0);
    Ok(())
}

#[tokio::test]
async fn an_open_connection_has_the_names_that_the_current_authorities_vouch_for()
-> anyhow::Result<()> {
    let case = Case::new()?;
    let tls = case.load()?;
    let peer = PeerCertificate::new(&[client(&case.first)?], Arc::clone(&tls));
    let (first, second) = (case.first.pem(), case.second.pem());
    assert_eq!(names(&peer, LAST_SECOND), 1);
    let both = format!("{first}{second}");
    for (content, expected) in [(&both, 1), (&second, 0), (&first, 1), (&String::new(), 1)] {
        std::fs::write(case.file(), content)?;
        // The last content is no authority, and so changes nothing.
        tls.reload().await;
        for _ in 0..2 {
            assert_eq!(names(&peer, LAST_SECOND), expected, "{content}");
        }
    }
    Ok(())
}

#[test]
fn a_certificate_that_no_authority_has_issued_has_no_names() -> anyhow::Result<()> {
    let case = Case::new()?;
    let foreign = [client(&case.second)?];
    // The name of the right authority with the key of another one.
    let forged = [client(&authority("first")?)?];
    for chain in [&foreign[..], &forged, &[]] {
        let peer = PeerCertificate::new(chain, case.load()?);
        assert_eq!(names(&peer, LAST_SECOND), 0);
    }
    let without = PeerCertificate::new(&[client(&case.first)?], case.certificate.load()?);
    assert_eq!(names(&without, LAST_SECOND), 0);
    Ok(())
}

#[tokio::test]
async fn a_revoked_certificate_has_no_names_also_on_open_connections() -> anyhow::Result<()> {
    let case = Case::new()?;
    let list = case.certificate.path().join("clients.crl");
    let current = |revoked: &[u64]| revocation_list(&case.first, revoked, 2010);
    std::fs::write(&list, current(&[])?)?;
    let tls = Arc::new(Tls::load(TlsFiles {
        client_ca: Some(case.file()),
        client_crl: Some(list.clone()),
        ..case.certificate.files()
    })?);
    let peer = PeerCertificate::new(&[client(&case.first)?], Arc::clone(&tls));
    assert_eq!(names(&peer, LAST_SECOND), 1);
    for (content, expected) in [
        (current(&[SERIAL])?, 0),
        // Neither is a list, so that the last one stays in use.
        (String::new(), 0),
        (
            "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned(),
            0,
        ),
        (current(&[SERIAL + 1])?, 1),
        // It has expired, or belongs to another authority.
        (revocation_list(&case.first, &[], 2001)?, 0),
        (revocation_list(&case.second, &[], 2010)?, 0),
        (current(&[])?, 1),
    ] {
        std::fs::write(&list, &content)?;
        tls.reload().await;
        assert_eq!(names(&peer, LAST_SECOND), expected, "{content}");
    }
    Ok(())
}

#[tokio::test]
async fn the_newest_of_several_lists_of_an_authority_counts_wherever_it_is_in_the_file()
-> anyhow::Result<()> {
    let case = Case::new()?;
    let list = case.certificate.path().join("clients.crl");
    let of_first = |revoked: &[u64], begin: i32| list_of_years(&case.first, revoked, (begin, 2010));
    let other = list_of_years(&case.second, &[SERIAL], (2001, 2010))?;
    std::fs::write(&list, of_first(&[], 2000)?)?;
    let tls = Arc::new(Tls::load(TlsFiles {
        client_ca: Some(case.file()),
        client_crl: Some(list.clone()),
        ..case.certificate.files()
    })?);
    let peer = PeerCertificate::new(&[client(&case.first)?], Arc::clone(&tls));
    for (old, new, expected) in [
        (of_first(&[], 2000)?, of_first(&[SERIAL], 2001)?, 0),
        // The certificate was on hold only.
        (of_first(&[SERIAL], 2000)?, of_first(&[], 2001)?, 1),
    ] {
        for content in [
            format!("{old}{new}"),
            format!("{new}{old}"),
            format!("{old}{other}{new}"),
        ] {
            std::fs::write(&list, &content)?;
            tls.reload().await;
            assert_eq!(names(&peer, LAST_SECOND), expected, "{content}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn authorities_and_revocations_are_followed_while_the_certificate_of_the_server_is_damaged()
-> anyhow::Result<()> {
    let case = Case::new()?;
    let list = case.certificate.path().join("clients.crl");
    let of_first = |revoked: &[u64]| revocation_list(&case.first, revoked, 2010);
    std::fs::write(&list, of_first(&[])?)?;
    let tls = Arc::new(Tls::load(TlsFiles {
        client_ca: Some(case.file()),
        client_crl: Some(list.clone()),
        ..case.certificate.files()
    })?);
    let peer = PeerCertificate::new(&[client(&case.first)?], Arc::clone(&tls));
    case.certificate.spoil()?;
    let (first, second) = (case.first.pem(), case.second.pem());
    for (authorities, revoked, expected) in [
        (&first, of_first(&[])?, 1),
        (&first, of_first(&[SERIAL])?, 0),
        // Neither file is replaced by one that cannot be read.
        (&first, String::new(), 0),
        (&String::new(), of_first(&[])?, 0),
        (&first, of_first(&[])?, 1),
        (&second, of_first(&[])?, 0),
    ] {
        std::fs::write(case.file(), authorities)?;
        std::fs::write(&list, &revoked)?;
        tls.reload().await;
        assert_eq!(
            names(&peer, LAST_SECOND),
            expected,
            "{authorities} {revoked}"
        );
    }
    Ok(())
}
