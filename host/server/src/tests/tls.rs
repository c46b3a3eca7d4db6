//! Tests of the server with TLS, for clients that use TLS and for some that do not.

use super::certificate::{Certificate, speaking, trusting};
use super::harness::{Client, HELD, LIVE, TestServer, options, within};
use crate::ServerOptions;
use crate::tls::{Tls, TlsFiles};
use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};

async fn check_live(client: &mut Client<TlsStream<TcpStream>>) -> anyhow::Result<()> {
    client.send(LIVE).await?;
    assert_eq!(client.answer().await?.body, r#"{"live":true}"#);
    Ok(())
}

/// Returns the certificate that the server presented to the client.
fn shown(client: &Client<TlsStream<TcpStream>>) -> anyhow::Result<Vec<u8>> {
    let (_, session) = client.stream.get_ref();
    let chain = session.peer_certificates().context("no certificate")?;
    Ok(chain.first().context("an empty chain")?.to_vec())
}

/// Returns all bytes that the server sends to a client that sends these bytes and waits.
async fn reply_to(server: &TestServer, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.write_all(bytes).await?;
    let mut reply = Vec::new();
    within(stream.read_to_end(&mut reply)).await??;
    Ok(reply)
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = speaking(&certificate, &[version])?;
        let mut client = server.connect_as(config).await?;
        assert_eq!(client.stream.get_ref().1.protocol_version(), Some(expected));
        check_live(&mut client).await?;
        check_live(&mut client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn clients_and_server_agree_on_a_protocol() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    for (offered, expected) in [
        (&[][..], None),
        (&["http/1.1"], Some(&b"http/1.1"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
    ] {
        let mut config = trusting(&certificate)?;
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let client = server.connect_as(config).await?;
        let agreed = client.stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, expected, "{offered:?}");
    }
    let mut config = trusting(&certificate)?;
    config.alpn_protocols = vec![b"smtp".to_vec()];
    assert!(server.connect_as(config).await.is_err(), "smtp is not ours");
    Ok(())
}

#[tokio::test]
async fn a_client_without_tls_gets_an_alert_and_the_server_goes_on() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    const ALERT: u8 = 21;
    for bytes in [
        LIVE.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 4096],
    ] {
        let reply = reply_to(&server, bytes).await?;
        assert_eq!(reply.first(), Some(&ALERT), "{reply:?}");
        assert!(reply.len() < 10, "{reply:?}");
    }
    check_live(&mut server.connect_tls(&certificate).await?).await
}

#[tokio::test]
async fn tls_1_1_is_refused() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    // A ClientHello of version 3.2: one cipher suite, no compression, and one signature algorithm. Real
    // clients of this version send no such extension, but without it the server does not check the version.
    let suites = [0, 0, 2, 0xc0, 0x13, 1, 0];
    let algorithms = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let hello = [&[3, 2][..], &[7; 32], &suites, &algorithms].concat();
    let length = u8::try_from(hello.len())?;
    let message = [&[1, 0, 0, length][..], &hello].concat();
    let record = [&[22, 3, 1, 0, length + 4][..], &message].concat();
    let reply = reply_to(&server, &record).await?;
    // A fatal alert about the version.
    assert!(
        reply.first() == Some(&21) && reply.ends_with(&[2, 70]),
        "{reply:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_over_tls() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let options = ServerOptions {
        max_connections: 1,
        ..options()
    };
    let server = TestServer::start_tls(options, &certificate.load()?).await?;
    // A connection counts, and can be closed, even before it has begun its handshake.
    let mut silent = server.connect().await?;
    let mut busy = server.connect_tls(&certificate).await?;
    busy.send(HELD).await?;
    assert_eq!(busy.answer().await?.status, 100);
    silent.check_closed().await?;
    let mut third = server.connect_tls(&certificate).await?;
    third.answer().await?.check_refusal(503)?;
    third.check_closed().await
}

#[tokio::test]
async fn refusals_are_whole_and_survive_a_client_that_sends_on() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    let mut client = server.connect_tls(&certificate).await?;
    client.send("NO HTTP\r\n\r\n").await?;
    client.answer().await?.check_refusal(400)?;

    let mut client = server.connect_tls(&certificate).await?;
    client
        .send("POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n")
        .await?;
    // All of the body: if the socket were closed at once, sending would fail and the response would be
    // lost.
    client.send(vec![b' '; 5_000_000]).await?;
    client.answer().await?.check_refusal(413)?;
    client.check_closed().await
}

#[tokio::test]
async fn the_end_of_a_connection_is_said_within_tls() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let server = TestServer::start_tls(options(), &certificate.load()?).await?;
    let mut client = server.connect_tls(&certificate).await?;
    let last = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    client.send(last).await?;
    assert_eq!(client.answer().await?.status, 200);
    // If the connection had been cut, this would be an error.
    let mut byte = [0];
    assert_eq!(within(client.stream.read(&mut byte)).await??, 0);
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() -> anyhow::Result<()> {
    let mut certificate = Certificate::new()?;
    let tls = certificate.load()?;
    let server = TestServer::start_tls(options(), &tls).await?;
    let mut old = server.connect_tls(&certificate).await?;
    check_live(&mut old).await?;
    let first = shown(&old)?;

    certificate.renew()?;
    tls.reload().await;
    let mut new = server.connect_tls(&certificate).await?;
    assert_ne!(shown(&new)?, first);
    check_live(&mut old).await?;
    check_live(&mut new).await?;

    certificate.spoil()?;
    tls.reload().await;
    let mut newest = server.connect_tls(&certificate).await?;
    assert_eq!(shown(&newest)?, shown(&new)?);
    for client in [&mut old, &mut new, &mut newest] {
        check_live(client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_of_the_old_certificate_is_not_resumed() -> anyhow::Result<()> {
    let mut certificate = Certificate::new()?;
    let tls = certificate.load()?;
    let server = TestServer::start_tls(options(), &tls).await?;
    let config = trusting(&certificate)?;
    // Reading a response also reads the session tickets that precede it.
    check_live(&mut server.connect_as(config.clone()).await?).await?;
    certificate.renew()?;
    tls.reload().await;
    assert!(
        server.connect_as(config).await.is_err(),
        "an unknown certificate"
    );
    Ok(())
}

#[tokio::test]
async fn requests_in_flight_over_tls_are_answered_before_the_end() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let mut server = TestServer::start_tls(options(), &certificate.load()?).await?;
    let mut busy = server.connect_tls(&certificate).await?;
    busy.send(HELD).await?;
    assert_eq!(busy.answer().await?.status, 100);
    let mut idle = server.connect_tls(&certificate).await?;
    check_live(&mut idle).await?;

    server.stop();
    idle.check_closed().await?;
    busy.send("{}").await?;
    let answer = busy.answer().await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
    assert!(answer.closes());
    busy.check_closed().await?;
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_within_tls() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let options = ServerOptions {
        header_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = TestServer::start_tls(options, &certificate.load()?).await?;
    // An incomplete head within TLS is subject to the same time limit.
    let mut client = server.connect_tls(&certificate).await?;
    client.send("GET / HTTP/1.1\r\nho").await?;
    client.check_closed().await
}

/// Returns the certificate of a new authority in PEM, and the configuration of a client with a certificate of it.
fn certified(server: &Certificate) -> anyhow::Result<(String, ClientConfig)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["client.example".to_owned()])?;
    let certificate = params.signed_by(&key, &authority)?;
    let mut roots = RootCertStore::empty();
    roots.add(server.der().clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    Ok((authority.pem(), config))
}

#[tokio::test]
async fn new_authorities_of_clients_count_while_the_certificate_of_the_server_is_damaged()
-> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let (old, old_client) = certified(&certificate)?;
    let (new, new_client) = certified(&certificate)?;
    let file = certificate.path().join("clients.pem");
    std::fs::write(&file, old)?;
    let tls = Arc::new(Tls::load(TlsFiles {
        client_ca: Some(file.clone()),
        ..certificate.files()
    })?);
    let server = TestServer::start_tls(options(), &tls).await?;
    check_live(&mut server.connect_as(old_client.clone()).await?).await?;
    certificate.spoil()?;
    std::fs::write(&file, new)?;
    tls.reload().await;
    check_live(&mut server.connect_as(new_client).await?).await?;
    // With TLS 1.3, a client learns of its refusal after its handshake.
    let refused = match server.connect_as(old_client).await {
        Ok(mut client) => check_live(&mut client).await,
        Err(error) => Err(error),
    };
    assert!(refused.is_err(), "its authority is gone");
    Ok(())
}
