//! The floor: the same commands over the bare socket, without reading them twice.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// `set server addr` and `set server state ready` for this many slots, so many commands a line: the time it took.
///
/// One connection in prompt mode; a line is sent when the one before it was answered. Within a line, `;` separates.
pub fn fill(
    socket: &str,
    backends: usize,
    slots: usize,
    per_line: usize,
) -> std::io::Result<Duration> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"prompt\n")?;
    until_prompt(&mut stream, 1)?;
    let commands: Vec<String> = (0..backends)
        .flat_map(|backend| (1..=slots).map(move |slot| (backend, slot)))
        .flat_map(|(backend, slot)| {
            let at = address(backend * slots + slot);
            [
                format!(
                    "set server be{backend}/slot{slot} addr {} port {}",
                    at.ip(),
                    at.port()
                ),
                format!("set server be{backend}/slot{slot} state ready"),
            ]
        })
        .collect();
    let after_each = prompts_after_each(&mut stream)?;
    let began = Instant::now();
    for line in commands.chunks(per_line) {
        stream.write_all(line.join(";").as_bytes())?;
        stream.write_all(b"\n")?;
        until_prompt(&mut stream, if after_each { line.len() } else { 1 })?;
    }
    Ok(began.elapsed())
}

/// The address of the `number`th endpoint.
pub fn address(number: usize) -> std::net::SocketAddr {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let octets = (0x0a00_0000 + number / 50_000).to_be_bytes();
    let port = u16::try_from(10_000 + number % 50_000).unwrap_or(u16::MAX);
    (octets, port).into()
}

/// Up to 3.1 a prompt ends each command of a line, later each line.
fn prompts_after_each(stream: &mut UnixStream) -> std::io::Result<bool> {
    stream.write_all(b"show version;show version\n")?;
    let mut seen = until_prompt(stream, 1)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut buffer = [0; 4096];
    if let Ok(read) = stream.read(&mut buffer) {
        seen += count(&buffer[..read]);
    }
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(seen > 1)
}

fn until_prompt(stream: &mut UnixStream, prompts: usize) -> std::io::Result<usize> {
    let mut seen = 0;
    let mut buffer = vec![0; 65_536];
    let mut tail: Vec<u8> = Vec::new();
    while seen < prompts {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        tail.extend_from_slice(&buffer[..read]);
        seen += count(&tail);
        // What may be the beginning of a prompt is kept for the next piece.
        let keep = (1..=2)
            .rev()
            .find(|len| tail.ends_with(&b"\n> "[..*len]))
            .unwrap_or(0);
        tail.drain(..tail.len() - keep);
    }
    Ok(seen)
}

fn count(bytes: &[u8]) -> usize {
    bytes.windows(3).filter(|window| window == b"\n> ").count()
}
