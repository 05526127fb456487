//! The same over plain TCP, for services whose traffic is opaque: one line asks, one line and a body answer.

use std::{io, net::SocketAddr, str::FromStr as _, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    content::{Ask, PIECE_EVERY, piece},
    server::Shared,
};

/// A line is at most this long.
const LINE: u64 = 512;
/// A client that asks nothing is left after this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The head that an endpoint sends before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) endpoint: SocketAddr,
    pub(super) service: String,
    pub(super) length: u64,
}

/// Answers the requests of one connection, one after the other, until it closes.
pub(super) async fn answer(stream: TcpStream, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    // What goes wrong here is the client's to report.
    while let Ok(Ok(Some(line))) = timeout(PATIENCE, read_line(&mut stream)).await {
        let Some((service, path)) = line.split_once(' ') else {
            return;
        };
        let Some(ask) = Ask::parse(path) else {
            return;
        };
        shared.arrived(Some(service));
        if reply(&mut stream, shared, service, ask).await.is_err() {
            return;
        }
    }
}

async fn reply(
    stream: &mut BufReader<TcpStream>,
    shared: &Shared,
    service: &str,
    ask: Ask,
) -> io::Result<()> {
    let pieces = ask.pieces();
    let length = match ask {
        Ask::Download(_) => piece(0).len() * pieces,
        Ask::Identity | Ask::Slow(_) => shared.identity.len(),
    };
    if let Ask::Slow(time) = ask {
        sleep(time).await;
    }
    let head = format!("{} {service} {length}\n", shared.address);
    stream.write_all(head.as_bytes()).await?;
    if pieces == 0 {
        stream.write_all(&shared.identity).await?;
    }
    for number in 0..pieces {
        stream.write_all(&piece(number)).await?;
        if number + 1 < pieces {
            sleep(PIECE_EVERY).await;
        }
    }
    stream.flush().await
}

/// Asks, and reads what the endpoint says before its body.
pub(super) async fn ask(
    stream: &mut BufReader<TcpStream>,
    service: &str,
    ask: Ask,
) -> io::Result<Option<Head>> {
    let line = format!("{service} {ask}\n");
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await?;
    Ok(read_line(stream).await?.as_deref().and_then(parse_head))
}

fn parse_head(line: &str) -> Option<Head> {
    let mut words = line.split(' ');
    let head = Head {
        endpoint: SocketAddr::from_str(words.next()?).ok()?,
        service: words.next()?.to_owned(),
        length: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(head)
}

/// A line without its end; `None` when the connection closed before it was whole.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    (&mut *stream).take(LINE).read_line(&mut line).await?;
    Ok(line.strip_suffix('\n').map(ToOwned::to_owned))
}
