//! The names in a certificate, and the end of its validity.
//!
//! The certificate has been verified, so an authority that the operator trusts has made it; it is still parsed by a parser
//! that does not panic, and its names are bounded in number and length. A name that cannot be written unambiguously is
//! ignored; the other names of the certificate remain.

use wisp_serving::tenants::subject::Subject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The maximum number of alternative names of a certificate that identifies a tenant.
const MAX_NAMES: usize = 100;

/// The types of attributes in a distinguished name, as OpenSSL writes them for RFC 2253 and RFC 4514. Others would
/// be written as numbers, and differently by different programs.
const ATTRIBUTES: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The names in a certificate. By default there are none. Lifetime: a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateNames {
    pub(super) subjects: Vec<Subject>,
    /// The last second in which the certificate is valid, since 1970.
    pub(super) last_second: u64,
}

impl CertificateNames {
    /// Reads a certificate in DER. One that cannot be read has no names.
    pub(super) fn read(certificate: &[u8]) -> CertificateNames {
        names(certificate).unwrap_or_default()
    }
}

fn names(certificate: &[u8]) -> Option<CertificateNames> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut subjects = Vec::new();
    subjects.extend(distinguished_name(certificate.subject()));
    // An error is a certificate with two lists of names, or with a list that cannot be read.
    if let Some(alternative) = certificate.subject_alternative_name().ok()? {
        let names = &alternative.value.general_names;
        if names.len() > MAX_NAMES {
            return None;
        }
        for name in names {
            subjects.extend(match name {
                GeneralName::URI(uri) => Subject::uri(uri),
                // The case of a DNS name has no meaning.
                GeneralName::DNSName(name) => Subject::dns(&name.to_ascii_lowercase()),
                _ => None,
            });
        }
    }
    let end = certificate.validity().not_after.timestamp();
    Some(CertificateNames {
        subjects,
        last_second: u64::try_from(end).unwrap_or(0),
    })
}

/// Returns the distinguished name in the form of RFC 4514, the last part first. There is none if a part has several
/// attributes, whose order programs do not agree on, a type of attribute without a short name, or a value that is not text.
fn distinguished_name(name: &X509Name<'_>) -> Option<Subject> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let mut attributes = part.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return None;
        };
        let number = attribute.attr_type().to_id_string();
        let (_, short) = ATTRIBUTES.iter().find(|(known, _)| *known == number)?;
        parts.push(format!("{short}={}", escaped(attribute.as_str().ok()?)));
    }
    parts.reverse();
    Subject::distinguished_name(&parts.join(","))
}

/// Returns the value of an attribute, with the special characters of a distinguished name escaped.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (position, character) in value.chars().enumerate() {
        let is_special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => position == 0,
            ' ' => position == 0 || position == last,
            _ => false,
        };
        if is_special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, date_time_ymd};

    fn certificate(params: &CertificateParams) -> anyhow::Result<Vec<u8>> {
        Ok(params.self_signed(&KeyPair::generate()?)?.der().to_vec())
    }

    fn params(name: &[(DnType, &str)]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (attribute, value) in name {
            params.distinguished_name.push(attribute.clone(), *value);
        }
        params.not_after = date_time_ymd(2001, 9, 9);
        params
    }

    fn texts(names: &CertificateNames) -> Vec<&str> {
        names.subjects.iter().map(Subject::as_str).collect()
    }

    #[test]
    fn a_certificate_has_its_subject_and_alternative_names_and_an_end() -> anyhow::Result<()> {
        let mut params = params(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "A, B + C"),
            (DnType::CommonName, "#client "),
        ]);
        params.subject_alt_names = vec![
            SanType::URI("spiffe://example.org/client".try_into()?),
            SanType::DnsName("Client.Example.org".try_into()?),
            SanType::DnsName("*.example.org".try_into()?),
            SanType::Rfc822Name("a@example.org".try_into()?),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        let names = CertificateNames::read(&certificate(&params)?);
        let expected = [
            "dn:CN=\\#client\\ ,O=A\\, B \\+ C,C=DE",
            "uri:spiffe://example.org/client",
            "dns:client.example.org",
        ];
        assert_eq!(texts(&names), expected);
        assert_eq!(names.last_second, 999_993_600);
        Ok(())
    }

    #[test]
    fn ambiguous_subjects_are_no_names() -> anyhow::Result<()> {
        let title = || DnType::CustomDnType(vec![2, 5, 4, 12]);
        for name in [
            &[][..],
            &[(DnType::CommonName, "client"), (title(), "Dr.")],
            &[(DnType::CommonName, "a\nb")],
            &[(DnType::CommonName, "a\0b")],
        ] {
            let names = CertificateNames::read(&certificate(&params(name))?);
            assert!(names.subjects.is_empty(), "{names:?}");
        }
        // A value cannot add a part to the name.
        let forged = params(&[(DnType::CommonName, "a,O=Example")]);
        let names = CertificateNames::read(&certificate(&forged)?);
        assert_eq!(texts(&names), ["dn:CN=a\\,O=Example"]);
        let mut many = params(&[(DnType::CommonName, "client")]);
        for number in 0..=MAX_NAMES {
            let name = format!("a{number}.example");
            many.subject_alt_names
                .push(SanType::DnsName(name.try_into()?));
        }
        let names = CertificateNames::read(&certificate(&many)?);
        assert!(names.subjects.is_empty());
        Ok(())
    }

    #[test]
    fn a_subject_in_an_older_encoding_is_no_name_and_the_alternative_names_stay()
    -> anyhow::Result<()> {
        let read = |value: DnValue| -> anyhow::Result<CertificateNames> {
            let mut params = params(&[(DnType::OrganizationName, "Example")]);
            params.distinguished_name.push(DnType::CommonName, value);
            params.subject_alt_names = vec![SanType::DnsName("client.example".try_into()?)];
            Ok(CertificateNames::read(&certificate(&params)?))
        };
        for value in [
            DnValue::BmpString("client".try_into()?),
            DnValue::TeletexString("client".try_into()?),
            DnValue::UniversalString("client".try_into()?),
        ] {
            assert_eq!(texts(&read(value)?), ["dns:client.example"]);
        }
        for value in [
            DnValue::PrintableString("client".try_into()?),
            DnValue::Ia5String("client".try_into()?),
        ] {
            let expected = ["dn:CN=client,O=Example", "dns:client.example"];
            assert_eq!(texts(&read(value)?), expected);
        }
        Ok(())
    }

    #[test]
    fn a_damaged_certificate_has_fewer_names_and_no_panic() -> anyhow::Result<()> {
        let mut params = params(&[(DnType::CommonName, "client")]);
        params.subject_alt_names = vec![SanType::DnsName("client.example".try_into()?)];
        let whole = certificate(&params)?;
        for length in 0..whole.len() {
            let names = CertificateNames::read(whole.get(..length).unwrap_or_default());
            assert_eq!(names, CertificateNames::default(), "{length} bytes");
        }
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                if let Some(byte) = damaged.get_mut(position) {
                    *byte ^= 1 << bit;
                }
                assert!(CertificateNames::read(&damaged).subjects.len() <= 2);
            }
        }
        let longer = [whole.as_slice(), b"\0"].concat();
        assert_eq!(CertificateNames::read(&longer), CertificateNames::default());
        Ok(())
    }
}
