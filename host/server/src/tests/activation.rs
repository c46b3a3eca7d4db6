//! Tests of sockets that another process shares, and of idle servers that exit.

use super::drain::held;
use super::harness::{LIVE, TestServer, options};
use crate::{ListeningSocket, ServerOptions};
use std::time::Duration;
use tokio::time::Instant;

/// Returns a socket as a service manager holds it.
fn bound() -> anyhow::Result<std::net::TcpListener> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?)
}

/// Returns the socket as a server takes it over.
fn passed(holder: &std::net::TcpListener) -> anyhow::Result<ListeningSocket> {
    Ok(ListeningSocket::shared(holder.try_clone()?)?)
}

#[tokio::test]
async fn connections_that_wait_at_a_shared_socket_are_left_to_the_next_server() -> anyhow::Result<()>
{
    let holder = bound()?;
    let options = ServerOptions {
        // A server that waited for it would accept meanwhile.
        drain_delay: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start_on(passed(&holder)?, options.clone())?;
    let mut busy = held(&server).await?;
    let mut idle = server.connect().await?;
    idle.send(LIVE).await?;
    idle.answer().await?;

    server.stop();
    // The server has left the socket before it closes connections.
    idle.check_closed().await?;
    let mut waiting = server.connect().await?;
    waiting.send(LIVE).await?;
    busy.send("{}").await?;
    assert_eq!(busy.answer().await?.status, 200);
    busy.check_closed().await?;
    assert_eq!(server.ended().await?, Ok(()));

    let next = TestServer::start_on(passed(&holder)?, options)?;
    assert_eq!(waiting.answer().await?.status, 200);
    // The socket has no filter that keeps others from connecting.
    next.check_alive().await
}

#[tokio::test(start_paused = true)]
async fn an_unused_server_ends_after_its_idle_time() -> anyhow::Result<()> {
    for shared in [false, true] {
        let socket = match shared {
            true => passed(&bound()?)?,
            false => tokio::net::TcpListener::bind("127.0.0.1:0").await?.into(),
        };
        let start = Instant::now();
        let mut server = TestServer::start_on(socket, idle_exit(10))?;
        assert_eq!(server.ended().await?, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 10);
    }
    Ok(())
}

#[tokio::test]
async fn an_open_request_keeps_a_server_and_an_idle_connection_does_not() -> anyhow::Result<()> {
    let mut server = TestServer::start(idle_exit(60)).await?;
    let mut idle = server.connect().await?;
    idle.send(LIVE).await?;
    idle.answer().await?;
    let mut busy = held(&server).await?;
    pass(100).await;
    busy.send("{}").await?;
    let answer = busy.answer().await?;
    assert_eq!((answer.status, answer.closes()), (200, false));
    pass(60).await;
    for client in [&mut idle, &mut busy] {
        client.check_closed().await?;
    }
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn every_request_starts_the_idle_time_again() -> anyhow::Result<()> {
    let mut server = TestServer::start(idle_exit(60)).await?;
    for _ in 0..3 {
        pass(40).await;
        let answer = server.ask(LIVE).await?;
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    pass(60).await;
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

/// Moves the clock. It is not paused longer, because a paused clock does not wait for sockets.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn idle_exit(seconds: u64) -> ServerOptions {
    ServerOptions {
        idle_exit: Some(Duration::from_secs(seconds)),
        body_timeout: Duration::from_secs(3600),
        ..options()
    }
}
