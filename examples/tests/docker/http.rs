//! One request at a time.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::users::LIMIT;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As the server names it.
    pub(crate) service: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// Asks once; nothing where nobody answers.
pub(crate) fn get(address: SocketAddr, host: &str, path: &str) -> Option<Answer> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let header = |name| {
        let mut lines = answer.lines();
        let value = lines.find_map(|line| line.strip_prefix(name));
        value.map(str::to_owned)
    };
    Some(Answer {
        status: answer.split(' ').nth(1)?.parse().ok()?,
        service: header("x-service: "),
        endpoint: header("x-endpoint: "),
    })
}

/// Asks until the answer is as `expected` says.
pub(crate) fn until(
    address: SocketAddr,
    host: &str,
    path: &str,
    expected: impl Fn(&Answer) -> bool,
) -> Answer {
    let began = Instant::now();
    loop {
        let answer = get(address, host, path);
        match answer {
            Some(answer) if expected(&answer) => return answer,
            answer => assert!(began.elapsed() < LIMIT, "{host}{path} gives {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks until this service answers.
pub(crate) fn until_served(address: SocketAddr, host: &str, path: &str, service: &str) -> Answer {
    until(address, host, path, |answer| {
        answer.status == 200 && answer.service.as_deref() == Some(service)
    })
}
